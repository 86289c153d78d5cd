//! Signs a new value for a key variable: writes the `.auth` file that firmware takes.

use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use efivars::{Certificate, EfiTime, Error, RsaSigner, SignatureDatabase, Update, VariableName};
use serde_json::json;

const USAGE: &str = "sign_variable NAME ESL KEY CERT OUT [append] [YYYY-MM-DDTHH:MM:SS]
NAME is PK, KEK, db, dbx or dbt; an empty ESL deletes the variable. The time is now
(or that of SOURCE_DATE_EPOCH) if none is given; firmware wants it later than that of the value it replaces.
Exit code 1: the key is not the certificate's, firmware would refuse the value, or the time is far ahead.";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let [name, esl, key, cert, out, options @ ..] = args else {
            return Err(USAGE.into());
        };
        let name = VariableName::well_known(name).filter(VariableName::is_key_variable);
        let name = name.ok_or(USAGE)?;
        let bad = |path: &str, error: Error| format!("{path}: {error}");
        let list = SignatureDatabase::parse(&read(esl)?).map_err(|e| bad(esl, e))?;
        let pem = String::from_utf8(read(key)?).map_err(|_| format!("{key}: not a PEM text"))?;
        let chain = Certificate::chain_from_pem_or_der(&read(cert)?).map_err(|e| bad(cert, e))?;
        let (certificate, further) = chain.split_first().ok_or(USAGE)?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let seconds = std::env::var("SOURCE_DATE_EPOCH").map_or(Ok(clock), |text| text.parse())?;
        let (clock, now) = (EfiTime::from_unix(clock)?, EfiTime::from_unix(seconds)?);
        let append = options.iter().any(|option| option == "append");
        let at = options.iter().find(|option| *option != "append");
        let time = at.map_or(Ok(now), |at| at.parse().map_err(|e| bad(at, e)))?;
        let make = [Update::replace, Update::append][usize::from(append)];
        let signed = RsaSigner::from_pem(&pem).and_then(|signer| {
            let update = make(name, &list, time)?.refuse_far_future(clock)?;
            let update = update.with_chain(further.to_vec());
            update.sign(certificate, &signer)
        });
        match signed {
            Err(error @ (Error::Pem { .. } | Error::PrivateKey | Error::KeyEncrypted)) => {
                Err(bad(key, error).into())
            }
            Err(error) => Ok((json!({ "refused": error.to_string() }), false)),
            Ok(signed) => {
                let written = std::fs::write(out, signed.to_bytes());
                written.map_err(|error| format!("{out}: {error}"))?;
                let (name, attributes) = (signed.name().to_string(), signed.attributes().bits());
                let document = json!({ "variable": name, "attributes": attributes,
                    "time": time.to_string(), "signer": certificate.subject() });
                Ok((document, true))
            }
        }
    })
}

fn read(path: &str) -> Result<Vec<u8>, Box<dyn StdError>> {
    std::fs::read(path).map_err(|error| format!("{path}: {error}").into())
}
