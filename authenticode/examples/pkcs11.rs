//! Signs an image with a key in a PKCS#11 token: a smart card, an HSM, or softhsm2.
//!
//! `PIN=… cargo run --example pkcs11 -- MODULE TOKEN KEY CERT IN OUT`, TOKEN and KEY being labels

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use authenticode::{BoxError, Certificate, Image, ImageOptions, Prepared, ToBeSigned};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [module, token, key, certificate, input, output] = args.as_slice() else {
        return Err(
            "usage: pkcs11 MODULE TOKEN KEY CERT IN OUT, with the PIN in the environment".into(),
        );
    };
    let pin = std::env::var("PIN")?;
    let token = Token::open(module.as_ref(), token, &pin, key)?;
    token.sign(certificate.as_ref(), input.as_ref(), output.as_ref())
}

/// A token that the user has logged in to, and a key in it.
pub(crate) struct Token {
    session: Session,
    key: ObjectHandle,
}

impl Token {
    /// Finds the token and the key by their labels.
    pub(crate) fn open(
        module: &Path,
        token: &str,
        pin: &str,
        key: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let library = Pkcs11::new(module)?;
        library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        let mut slots = library.get_slots_with_token()?.into_iter();
        let is_wanted = |slot| {
            library
                .get_token_info(slot)
                .is_ok_and(|info| info.label() == token)
        };
        let slot = slots.find(|slot| is_wanted(*slot)).ok_or("no such token")?;
        let session = library.open_ro_session(slot)?;
        session.login(UserType::User, Some(&AuthPin::new(pin.into())))?;
        let wanted = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Label(key.into()),
        ];
        let key = session.find_objects(&wanted)?.pop().ok_or("no such key")?;
        Ok(Self { session, key })
    }

    /// Signs a copy of the image.
    pub(crate) fn sign(
        &self,
        certificate: &Path,
        input: &Path,
        output: &Path,
    ) -> Result<(), Box<dyn Error>> {
        let certificate = Certificate::from_pem(&fs::read_to_string(certificate)?)?;
        let mut file = File::create(output)?;
        let image = Image::copy(&mut File::open(input)?, &mut file, &ImageOptions::new())?;
        let signer = |request: &ToBeSigned| self.ask(request);
        Prepared::new(image, &certificate)?
            .sign(&signer)?
            .append_to(&mut file)?;
        Ok(())
    }

    /// `CKM_RSA_PKCS`, which every token has, pads but does not hash: it takes DigestInfo.
    fn ask(&self, request: &ToBeSigned) -> Result<Vec<u8>, BoxError> {
        Ok(self
            .session
            .sign(&Mechanism::RsaPkcs, self.key, &request.digest_info())?)
    }
}
