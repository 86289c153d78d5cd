//! Signs a new value for a key variable: writes the `.auth` file that firmware takes.

use std::error::Error;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use efivars::{Certificate, EfiTime, RsaSigner, SignatureDatabase, Update, VariableName};
use serde_json::json;

const USAGE: &str = "sign_variable NAME ESL KEY CERT OUT [append] [YYYY-MM-DDTHH:MM:SS]
NAME is PK, KEK, db, dbx or dbt; an empty ESL deletes the variable. The time is now (or that of
SOURCE_DATE_EPOCH) if none is given; firmware wants it later than that of the value it replaces.
Exit code 1: the key is not the certificate's, or firmware would refuse the value.";

fn main() -> ExitCode {
    programs::run(USAGE, |args| {
        let [name, esl, key, cert, out, options @ ..] = args else {
            return Err(USAGE.into());
        };
        let name = VariableName::well_known(name).filter(VariableName::is_key_variable);
        let name = name.ok_or(USAGE)?;
        let bad = |path: &str, error: efivars::Error| format!("{path}: {error}");
        let list = SignatureDatabase::parse(&read(esl)?).map_err(|e| bad(esl, e))?;
        let pem = String::from_utf8(read(key)?)?;
        let signer = RsaSigner::from_pem(&pem).map_err(|e| bad(key, e))?;
        let certificate = Certificate::from_pem_or_der(&read(cert)?).map_err(|e| bad(cert, e))?;
        let append = options.iter().any(|option| option == "append");
        let at = options.iter().find(|option| *option != "append");
        let time = at.map_or_else(now, |at| Ok(at.parse()?))?;
        let make = [Update::replace, Update::append][usize::from(append)];
        let signed = make(name, &list, time).and_then(|update| update.sign(&certificate, &signer));
        let document = match &signed {
            Err(error) => json!({ "refused": error.to_string() }),
            Ok(signed) => {
                std::fs::write(out, signed.to_bytes())
                    .map_err(|error| format!("{out}: {error}"))?;
                json!({ "variable": signed.name().to_string(), "attributes": signed.attributes().bits(),
                    "time": time.to_string(), "signer": certificate.subject() })
            }
        };
        Ok((document, signed.is_ok()))
    })
}

fn read(path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    std::fs::read(path).map_err(|error| format!("{path}: {error}").into())
}

fn now() -> Result<EfiTime, Box<dyn Error>> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse()?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    Ok(EfiTime::from_unix(seconds)?)
}
