//! The boots of the story.

use std::path::Path;

use efivars::{Certificate, RsaSigner, SignatureDatabase, Update, Variable, VariableStore};
use pcr::{Bank, Pcr7, SecureBootVariables};

use super::images::{Images, PASSED, PHASE, read, write};
use super::{Step, Story};
use crate::boot::Boot;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::medium::Medium;
use crate::prediction::{Comparison, Prediction};
use crate::registers::hex;
use crate::report::{Ending, Refuser, Report};

const INSTALL: &str = include_str!("install.sh");
const UNLOCK: &str = include_str!("unlock.sh");
const REFUSE: &str = include_str!("refuse.sh");

/// The script with what every boot of an installed system does first.
fn script(text: &str) -> String {
    [include_str!("begin.sh"), text].concat()
}

/// Compares the registers at the start of the guest, and register 11 again after the phase.
fn compare(prediction: &Prediction, report: &Report) -> Vec<Comparison> {
    let at = |moment: &str, phase: &str| {
        report
            .registers_at(moment)
            .map(|registers| prediction.compare(phase, &registers))
            .unwrap_or_default()
    };
    let mut rows = at("begin", "");
    rows.extend(at(PHASE, PHASE).into_iter().filter(|row| row.pcr == 11));
    rows
}

pub(super) fn enrol(images: &Images, machine: &mut Machine) -> Result<Step> {
    let report = machine.boot(&Boot::new(Medium::cd(&images.main)))?;
    let mut prediction = untouched();
    for bank in Bank::ALL {
        prediction.insert(7, "", bank.name(), &enrolment_register(images, bank)?);
    }
    let rows = prediction.compare("", report.registers());
    Ok(Step::new("enrol", report, &Ending::Reset).compared(rows))
}

pub(super) fn install(images: &Images, machine: &mut Machine) -> Result<Step> {
    let report = machine.boot(&Boot::new(Medium::cd(&images.main)).script(script(INSTALL)))?;
    let rows = compare(&images.predict(&images.main, &[])?, &report);
    Ok(Step::new("install", report, &Ending::Done).compared(rows))
}

impl Story {
    /// The installed machine again: the disk is unlocked by the TPM, a file is read back.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn unlock(&self) -> Result<Step> {
        self.guest(
            "unlock",
            UNLOCK,
            Medium::cd(&self.images.main),
            &self.images.main,
            &[],
        )
    }

    /// Another command line and initramfs, signed with the same two keys: unlocks.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn upgrade(&self) -> Result<Step> {
        self.guest(
            "upgrade",
            &format!("{UNLOCK}\n[ \"$(cat /etc/edition)\" = second ] || exit 41\n"),
            Medium::cd(&self.images.upgrade),
            &self.images.upgrade,
            &[],
        )
    }

    /// A UKI whose policies another key signed: boots and must not unlock.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn other_pcr_key(&self) -> Result<Step> {
        let image = &self.images.other_pcr_key;
        self.guest("other PCR key", REFUSE, Medium::cd(image), image, &[])
    }

    /// The same ISO as a USB disk: unlocks. At its end it adds a certificate to `db`.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn usb(&self) -> Result<&Step> {
        if let Some(step) = self.usb.get() {
            return Ok(step);
        }
        let (update, after) = self.one_more_certificate()?;
        write(&self.larger_db(), &after)?;
        let mut machine = self.copy("usb")?;
        let text = format!(
            "{UNLOCK}\nwrite_variable {} /in/db || exit 30\n",
            efivars::DB
        );
        let boot = Boot::new(Medium::usb(&self.images.main))
            .script(script(&text))
            .input("db", update);
        let report = machine.boot(&boot)?;
        let rows = compare(
            &self.images.predict(&self.images.main, &["--usb"])?,
            &report,
        );
        let step = Step::new("USB", report, &Ending::Done).compared(rows);
        Ok(self.usb.get_or_init(|| step))
    }

    /// One more certificate in `db`: boots and must not unlock.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn changed_db(&self) -> Result<Step> {
        self.usb()?.clone().checked()?;
        let mut machine = Machine::open(self.folder.join("machine-usb"))?
            .fork(self.folder.join("machine-changed-db"))?;
        let report =
            machine.boot(&Boot::new(Medium::cd(&self.images.main)).script(script(REFUSE)))?;
        let db = self.larger_db();
        let db = db.to_string_lossy();
        let rows = compare(
            &self.images.predict(&self.images.main, &["--db", &db])?,
            &report,
        );
        Ok(Step::new("changed db", report, &Ending::Done).compared(rows))
    }

    /// Secure Boot switched off in the firmware's set-up, keys still there: must not unlock.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn secure_boot_off(&self) -> Result<Step> {
        let mut machine = self.copy("secure-boot-off")?;
        let path = machine.variable_store();
        let mut store =
            VariableStore::parse(&read(&path)?).map_err(|error| invalid("variables.fd", &error))?;
        let attributes = store
            .variable(&efivars::SECURE_BOOT_ENABLE)
            .ok_or_else(|| Error::Invalid {
                what: "variables.fd".into(),
                problem: "no SecureBootEnable".into(),
            })?
            .attributes;
        store.set(Variable::new(
            efivars::SECURE_BOOT_ENABLE,
            attributes,
            vec![0],
        ));
        write(
            &path,
            &store
                .to_bytes()
                .map_err(|error| invalid("variables.fd", &error))?,
        )?;
        let report =
            machine.boot(&Boot::new(Medium::cd(&self.images.main)).script(script(REFUSE)))?;
        let rows = compare(
            &self
                .images
                .predict(&self.images.main, &["--secure-boot-off"])?,
            &report,
        );
        Ok(Step::new("Secure Boot off", report, &Ending::Done).compared(rows))
    }

    /// One byte of the UKI changed: the firmware must refuse what the loader offers it.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn tampered(&self) -> Result<Step> {
        self.refused(
            "tampered",
            Medium::cd(&self.images.tampered),
            Refuser::Loader,
        )
    }

    /// A UKI signed with a key that is not in `db`: the firmware must refuse it.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn wrong_signer(&self) -> Result<Step> {
        self.refused(
            "wrong signer",
            Medium::virtio(&self.images.wrong_signer),
            Refuser::Firmware,
        )
    }

    /// Kernel arguments from outside: the stub must ignore them; unlocks.
    ///
    /// # Errors
    /// When a tool fails; see [`Step::problem`] for what the boot itself found.
    pub fn passed_arguments(&self) -> Result<Step> {
        let images = &self.images;
        let medium = Medium::virtio(&images.passed_arguments);
        let text = format!(
            "{UNLOCK}\n[ \"$(cat /proc/cmdline)\" = '{}' ] || exit 40\n",
            images.cmdline
        );
        let mut machine = self.copy("passed-arguments")?;
        let report = machine.boot(&Boot::new(medium).script(script(&text)))?;
        let predicted = images.predict(&images.main, &["--passed-cmdline", PASSED])?;
        // The medium is another one than the image: its partition table and loader.conf are PCR 5.
        let rows = compare(&predicted, &report)
            .into_iter()
            .filter(|row| row.pcr != 5);
        Ok(Step::new("passed arguments", report, &Ending::Done).compared(rows))
    }

    /// Every boot there is, in the order of the story; enrolment and installation come first.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn every_boot(&self, mut progress: impl FnMut(&Step)) -> Result<Vec<Step>> {
        let mut steps = vec![self.enrol.clone(), self.install.clone()];
        let boots: [fn(&Self) -> Result<Step>; 9] = [
            Self::unlock,
            Self::upgrade,
            Self::other_pcr_key,
            |story| story.usb().cloned(),
            Self::changed_db,
            Self::secure_boot_off,
            Self::tampered,
            Self::wrong_signer,
            Self::passed_arguments,
        ];
        for boot in boots {
            let step = boot(self)?;
            progress(&step);
            steps.push(step);
        }
        Ok(steps)
    }

    fn guest(
        &self,
        name: &'static str,
        text: &str,
        medium: Medium,
        image: &Path,
        more: &[&str],
    ) -> Result<Step> {
        let mut machine = self.copy(&name.replace(' ', "-"))?;
        let report = machine.boot(&Boot::new(medium).script(script(text)))?;
        let rows = compare(&self.images.predict(image, more)?, &report);
        Ok(Step::new(name, report, &Ending::Done).compared(rows))
    }

    fn refused(&self, name: &'static str, medium: Medium, by: Refuser) -> Result<Step> {
        let report = self
            .copy(&name.replace(' ', "-"))?
            .boot(&Boot::new(medium))?;
        // Loader 257 writes "Access denied", everybody else "Access Denied".
        let message = match report.ending() {
            Ending::Refused { message, .. } if message.eq_ignore_ascii_case("access denied") => {
                message.clone()
            }
            _ => "Access Denied".to_owned(),
        };
        let rows = untouched().compare("", report.registers());
        Ok(Step::new(name, report, &Ending::Refused { by, message }).compared(rows))
    }

    fn larger_db(&self) -> std::path::PathBuf {
        self.images.scratch("larger-db.esl")
    }

    /// A signed write that appends a certificate to `db`, and the value of `db` after it.
    fn one_more_certificate(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let keys = &self.images.keys;
        let pem = |path: &Path| Ok::<_, Error>(String::from_utf8_lossy(&read(path)?).into_owned());
        let wrong = |error: efivars::Error| invalid("one more certificate", &error);
        let ours =
            Certificate::from_pem(&pem(&keys.join("uki-signing-cert.pem"))?).map_err(wrong)?;
        let signer =
            RsaSigner::from_pem(&pem(&keys.join("uki-signing-key.pem"))?).map_err(wrong)?;
        let other = self
            .images
            .scratch("other-keys")
            .join("uki-signing-cert.pem");
        let other = Certificate::from_pem(&pem(&other)?).map_err(wrong)?;
        let list = SignatureDatabase::new().with_certificate(efivars::Guid::ZERO, &other);
        // An append is not compared with the time of the variable.
        let time = "2024-01-02 03:04:05".parse().map_err(wrong)?;
        let update =
            Update::append(efivars::DB, &list, time).and_then(|update| update.sign(&ours, &signer));
        let after = [read(&keys.join("db.esl"))?, list.to_bytes()].concat();
        Ok((update.map_err(wrong)?.to_efivarfs(), after))
    }
}

fn invalid(what: &str, error: &dyn std::error::Error) -> Error {
    Error::Invalid {
        what: what.to_owned(),
        problem: error.to_string(),
    }
}

/// What holds when no stub ran: register 11 is as it was at power-on.
fn untouched() -> Prediction {
    let mut prediction = Prediction::default();
    for bank in Bank::ALL {
        prediction.insert(11, "", bank.name(), &hex(&vec![0; bank.digest_len()]));
    }
    prediction
}

/// Register 7 at the reset after an enrolment: what setup mode measures, then each variable at its
/// writing, and `SecureBoot`, which EDK II sets with the platform key.
fn enrolment_register(images: &Images, bank: Bank) -> Result<String> {
    let setup = Pcr7::new(SecureBootVariables::setup_mode())
        .predict()
        .map_err(|error| invalid("PCR 7", &error))?;
    let value = |name: &str| read(&images.keys.join(name));
    let writes = [
        (efivars::DB, value("db.esl")?),
        (efivars::KEK, value("KEK.esl")?),
        (efivars::PK, value("PK.esl")?),
        (efivars::SECURE_BOOT, vec![1]),
    ];
    let mut register = setup.value(bank);
    for (name, content) in writes {
        register = register.extended(&bank.hash(&variable_data(&name, &content)));
    }
    Ok(hex(register.as_bytes()))
}

/// `UEFI_VARIABLE_DATA` of the TCG's PC client profile, whose hash is measured.
fn variable_data(name: &efivars::VariableName, content: &[u8]) -> Vec<u8> {
    let len = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes();
    let text = name.to_utf16();
    let mut data = name.vendor().to_bytes().to_vec();
    data.extend(len(text.len() / 2));
    data.extend(len(content.len()));
    data.extend(text);
    data.extend(content);
    data
}
