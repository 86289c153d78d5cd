//! The secret of a Talos or systemd LUKS2 token.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tpm_seal::{Evidence, Pin, PolicyKey, SignatureDocument, Token, Tpm};

const USAGE: &str = r#"unseal_token TOKEN.json [--pcrsig FILE] [--pcrpkey FILE] [--pin-file FILE] --tcti TCTI

TOKEN.json is a LUKS2 token (talos-tpm2, systemd-tpm2, trustedboot-tpm2) or the UserData of a talos-tpm2 token.
--pcrsig defaults to the document of the running system. The public key of a Talos token's signed policy is not in the
token: without --pcrpkey it is the *.pem beside the --pcrsig file or the token whose fingerprint the document names.

Prints {"secret": "<hex>"}, or {"refused": "<kind>", "reason": "<text>"}.
Exit codes: 0 unsealed, 1 refused, 2 unreadable input, or no answer from the TPM."#;

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let (mut token, mut pcrsig, mut key, mut pin, mut tcti) = (None, None, None, None, None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let place = match arg.as_str() {
                "--pcrsig" => &mut pcrsig,
                "--pcrpkey" => &mut key,
                "--pin-file" => &mut pin,
                "--tcti" => &mut tcti,
                _ if token.is_none() && !arg.starts_with("--") => {
                    token = Some(arg);
                    continue;
                }
                _ => return Err(format!("unexpected argument {arg}\nusage: {USAGE}").into()),
            };
            *place = Some(args.next().ok_or_else(|| format!("{arg} needs a value"))?);
        }
        let (Some(token), Some(tcti)) = (token, tcti) else {
            return Err(format!("usage: {USAGE}").into());
        };
        match unseal(token, pcrsig, key, pin, tcti) {
            Ok(secret) => Ok((json!({ "secret": secret }), true)),
            Err(error) => match error.downcast::<tpm_seal::Error>().map(|error| *error) {
                Ok(tpm_seal::Error::Refused(refusal)) => Ok((
                    json!({ "refused": refusal.kind(), "reason": refusal.to_string() }),
                    false,
                )),
                Ok(error) => Err(error.into()),
                Err(error) => Err(error),
            },
        }
    })
}

type Name<'a> = Option<&'a String>;

fn unseal(
    path: &str,
    pcrsig: Name<'_>,
    key: Name<'_>,
    pin: Name<'_>,
    tcti: &str,
) -> Result<String, Box<dyn Error>> {
    let token = Token::parse(&std::fs::read(path)?)?;
    let mut evidence = Evidence::new();
    let document = match pcrsig {
        Some(file) => Some(SignatureDocument::parse(&std::fs::read(file)?)?),
        None => SignatureDocument::of_running_system()?,
    };
    let beside = [pcrsig.map(String::as_str), Some(path)]
        .into_iter()
        .flatten();
    let key = match (key, &document) {
        (Some(file), _) => Some(PolicyKey::from_pem(&std::fs::read_to_string(file)?)?),
        (None, Some(document)) => {
            document.find_key(beside.filter_map(|file| Path::new(file).parent()))
        }
        (None, None) => None,
    };
    evidence = key.into_iter().fold(evidence, Evidence::policy_key);
    evidence = document.into_iter().fold(evidence, Evidence::signatures);
    if let Some(file) = pin {
        let text = std::fs::read(file)?;
        evidence = evidence.pin(Pin::new(text.strip_suffix(b"\n").unwrap_or(&text)));
    }
    let secret = Tpm::open(&tcti.parse()?)?.unlock(&token, &evidence)?;
    Ok(secret
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
