//! Prints both kinds of digest of a PE image: the one that is signed, and the one for `db` and `dbx`.

use std::fs::File;
use std::process::ExitCode;

use authenticode::{Error, HashAlgorithm, Image, ImageOptions};
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    programs::run("digest_pe FILE", |args| {
        let [path] = args else {
            return Err("exactly one FILE is needed, see --help".into());
        };
        let options = ImageOptions::new().hashes(&HashAlgorithm::ALL);
        let mut file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
        let image = match Image::read_with(&mut file, &options) {
            Err(error) if !error.is_unreadable() => {
                return Ok((json!({ "refused": error.to_string() }), false));
            }
            image => image?,
        };
        let loaded = table(|algorithm| Ok(image.digest_as_loaded(algorithm)?.to_string()))?;
        // Tools disagree about images with gaps or overlaps, so these are not to be signed.
        match table(|algorithm| Ok(image.digest_for_signing(algorithm)?.to_string())) {
            Ok(signing) => Ok((json!({ "signing": signing, "as_loaded": loaded }), true)),
            Err(error) => {
                let refused = error.to_string();
                let document = json!({ "signing": null, "as_loaded": loaded, "refused": refused });
                Ok((document, false))
            }
        }
    })
}

fn table(digest: impl Fn(HashAlgorithm) -> Result<String, Error>) -> Result<Value, Error> {
    let mut all = Map::new();
    for algorithm in HashAlgorithm::ALL {
        all.insert(algorithm.to_string(), digest(algorithm)?.into());
    }
    Ok(all.into())
}
