//! The secret of a Talos or systemd LUKS2 token.

use std::process::ExitCode;

use serde_json::json;
use tpm_seal::{Error, EvidenceFiles, Token, Tpm};

const USAGE: &str = r#"unseal_token TOKEN.json [--pcrsig FILE] [--pcrpkey FILE] [--pin-file FILE] --tcti TCTI

TOKEN.json is a LUKS2 token (talos-tpm2, systemd-tpm2, trustedboot-tpm2), the UserData of a talos-tpm2 token, or a
TSS2 PRIVATE KEY file with sealed data. --pcrsig defaults to the document of the running system. The public key of a
Talos token's signed policy is not in the token: without --pcrpkey it is the *.pem beside the --pcrsig file or the token
whose fingerprint the document names.

Prints {"secret": "<hex>"}, or {"refused": "<kind>", "reason": "<text>"}.
Exit codes: 0 unsealed, 1 refused, 2 unreadable input, or no answer from the TPM."#;

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let (mut token, mut tcti, mut files) = (None, None, EvidenceFiles::new());
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if token.is_none() && !arg.starts_with("--") {
                token = Some(arg);
                continue;
            }
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--pcrsig" => files = files.pcrsig(value()?),
                "--pcrpkey" => files = files.policy_key(value()?),
                "--pin-file" => files = files.pin(value()?),
                "--tcti" => tcti = Some(value()?),
                _ => return Err(format!("unexpected argument {arg}\nusage: {USAGE}").into()),
            }
        }
        let (Some(path), Some(tcti)) = (token, tcti) else {
            return Err(format!("usage: {USAGE}").into());
        };
        let unseal = || {
            let token = Token::open(path)?;
            let evidence = files.beside(path).read()?;
            Tpm::open(&tcti.parse()?)?.unlock(&token, &evidence)
        };
        match unseal() {
            Ok(secret) => Ok((json!({ "secret": secret.to_hex().as_str() }), true)),
            Err(Error::Refused(refusal)) => Ok((
                json!({ "refused": refusal.kind(), "reason": refusal.to_string() }),
                false,
            )),
            Err(error) => Err(error.into()),
        }
    })
}
