//! Sealing to a TPM that is not there: an object for `TPM2_Import`, wrapped to the storage key's public area
//! (TPM 2.0 Part 1, clause 23.3 and annexes B.10.3, C.6.3).

use aes::cipher::{AsyncStreamCipher as _, InnerIvInit as _};
use hmac::Mac as _;
use p256::elliptic_curve::PrimeField as _;
use p256::elliptic_curve::sec1::FromEncodedPoint as _;
use rand_core::OsRng;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Oaep, RsaPublicKey};
use zeroize::Zeroizing;

use crate::bank::sha256;
use crate::public_area::{CURVE_P256, Kind, NO_DA, PublicArea};
use crate::sealed::SRK_HANDLE;
use crate::secret::{AuthValue, PinSalt, random};
use crate::wire::tpm2b;
use crate::{Error, Parent, Policy, SealOptions, SealedKey, SealedObject, Secret};

/// With its final NUL, which is part of the label.
const LABEL: &str = "DUPLICATE\0";

/// Seals `secret` to the storage key `parent` of another machine, without any TPM: what systemd does for
/// `--tpm2-device-key=`. The object opens on that machine only, as if sealed there.
///
/// All registers of the policy are literal values, so the state it is sealed to can be one that has not come yet.
/// Whoever seals knows the secret.
///
/// ```
/// use tpm_seal::{Bank, PcrValues, Policy, PublicArea, SealOptions, Secret, seal_offline};
/// # let srk_pub = [&[0x00, 0x5a, 0x00, 0x23, 0x00, 0x0b, 0x00, 0x03, 0x04, 0x72, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x10, 0, 3, 0, 0x10, 0, 0x20][..],
/// #     &[0x1b, 0xca, 0x77, 0x2f, 0xc7, 0x1f, 0x93, 0x88, 0x80, 0xad, 0x29, 0xe5, 0x69, 0x3c, 0x86, 0xc2, 0xf8, 0xb3, 0x57, 0xc2, 0xa3, 0xb9, 0x2a, 0x82, 0xaa, 0xd1, 0xc2, 0x23, 0xe5, 0x35, 0xa5, 0x78], &[0, 0x20],
/// #     &[0x0a, 0x8b, 0x3f, 0x00, 0xe7, 0x52, 0x8f, 0xba, 0xa8, 0x32, 0x9f, 0x01, 0x64, 0x48, 0x0c, 0xe4, 0x3d, 0x3b, 0x8a, 0x34, 0x14, 0xc2, 0xbf, 0x4d, 0x11, 0x06, 0x52, 0x0c, 0x1b, 0xa1, 0x3e, 0x5e]].concat();
///
/// let srk = PublicArea::parse(&srk_pub)?; // from `systemd-analyze srk`
/// let state = PcrValues::new(Bank::Sha256).with(4, &[0x44; 32])?.with(7, &[0x77; 32])?;
/// let secret = Secret::generate()?;
/// let sealed = seal_offline(&srk, &secret, &Policy::new().pcrs(state), &SealOptions::new())?;
/// # let _ = sealed;
/// # Ok::<(), tpm_seal::Error>(())
/// ```
///
/// # Errors
/// [`Error::StorageKey`], [`Error::Random`] and what [`SealOptions`] do not allow.
pub fn seal_offline(
    parent: &PublicArea,
    secret: &Secret,
    policy: &Policy,
    options: &SealOptions,
) -> Result<SealedKey, Error> {
    let auth_policy = options.judge(policy, secret.as_bytes().len())?;
    if options
        .expected_parent
        .is_some_and(|name| name != parent.name())
    {
        return Err(Error::StorageKey {
            reason: "it does not have the expected name",
        });
    }
    // A storage key cannot be DA-protected by its PIN-less children: without a PIN the lockout must not matter.
    let (attributes, pin_salt, auth) = match &options.pin {
        Some(pin) => {
            let salt = *random::<32>()?;
            let salt = PinSalt::Salt(salt);
            (0, salt, pin.auth_value(&salt))
        }
        None => (NO_DA, PinSalt::None, AuthValue::trimmed(&[])),
    };
    let object =
        Wrapping::from_os()?.wrap(parent, secret.as_bytes(), &auth_policy, attributes, &auth)?;
    let parent = Parent::Persistent {
        handle: SRK_HANDLE,
        public: parent.clone(),
    };
    Ok(SealedKey {
        object,
        parent,
        pin_salt,
    })
}

/// The random numbers of one wrapping.
pub(crate) struct Wrapping {
    /// ECC: the ephemeral private key. RSA: the seed itself.
    ephemeral: Zeroizing<[u8; 32]>,
    /// The object's own seed value, which hides the secret behind `unique`.
    seed_value: Zeroizing<[u8; 32]>,
}

impl Wrapping {
    pub(crate) fn from_os() -> Result<Self, Error> {
        Ok(Self {
            ephemeral: random()?,
            seed_value: random()?,
        })
    }

    pub(crate) fn wrap(
        &self,
        parent: &PublicArea,
        data: &[u8],
        auth_policy: &[u8],
        attributes: u32,
        auth: &AuthValue,
    ) -> Result<SealedObject, Error> {
        let (seed, import_secret) = self.seed(parent)?;
        let unique = sha256(&[&*self.seed_value, data]);
        let public = PublicArea::sealed(attributes, auth_policy, &unique);
        let name = public.name();

        let mut sensitive = Zeroizing::new(Vec::with_capacity(512));
        let mut area = Zeroizing::new(Vec::with_capacity(512));
        area.extend([0x00, 0x08]);
        for part in [auth.as_bytes(), &*self.seed_value, data] {
            area.extend(Zeroizing::new(tpm2b(part)).iter());
        }
        sensitive.extend(Zeroizing::new(tpm2b(&area)).iter());

        // The parent's own cipher: AES-128 in every storage root key that systemd and Talos make, but others exist.
        let bits = parent.aes_bits().ok_or(Error::StorageKey {
            reason: "it does not protect its children by AES in CFB mode",
        })?;
        let symmetric_key = kdf_a(&seed, b"STORAGE", name.as_bytes(), bits.into());
        let hmac_key = kdf_a(&seed, b"INTEGRITY", &[], 256);
        encrypt(symmetric_key.as_slice(), bits, &mut sensitive)?;
        let outer = hmac(&hmac_key, &[&sensitive, name.as_bytes()]);
        let mut private = tpm2b(&outer);
        private.extend(sensitive.iter());
        SealedObject::new(public, private, Some(import_secret))
    }

    /// The seed, and what the TPM gets it from.
    fn seed(&self, parent: &PublicArea) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), Error> {
        if !parent.is_storage_key() {
            return Err(Error::StorageKey {
                reason: "it is not a restricted decryption key",
            });
        }
        match parent.kind() {
            Kind::Ecc {
                curve: CURVE_P256,
                x,
                y,
            } => self.ecc_seed(x, y),
            Kind::Ecc { .. } => Err(Error::StorageKey {
                reason: "its curve is not P-256",
            }),
            Kind::Rsa { modulus, .. } => self.rsa_seed(modulus),
            Kind::KeyedHash { .. } => Err(Error::StorageKey {
                reason: "it is not a key",
            }),
        }
    }

    fn ecc_seed(&self, x: &[u8], y: &[u8]) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), Error> {
        let (x, y) = (padded(x)?, padded(y)?);
        let point = p256::EncodedPoint::from_affine_coordinates(&x.into(), &y.into(), false);
        let key = Option::<p256::PublicKey>::from(p256::PublicKey::from_encoded_point(&point))
            .ok_or(Error::StorageKey {
                reason: "its point is not on the curve",
            })?;
        let bytes = p256::FieldBytes::from(*self.ephemeral);
        let scalar =
            Option::<p256::Scalar>::from(p256::Scalar::from_repr(bytes)).unwrap_or_else(|| {
                <p256::Scalar as p256::elliptic_curve::ops::Reduce<p256::U256>>::reduce_bytes(
                    &bytes,
                )
            });
        let scalar = Option::<p256::NonZeroScalar>::from(p256::NonZeroScalar::new(scalar))
            .ok_or(Error::Random)?;
        let ephemeral = p256::EncodedPoint::from(p256::PublicKey::from_secret_scalar(&scalar));
        let shared = p256::ecdh::diffie_hellman(scalar, key.as_affine());
        let (Some(ephemeral_x), Some(ephemeral_y)) = (ephemeral.x(), ephemeral.y()) else {
            return Err(Error::Random);
        };
        let seed = sha256(&[
            &[0, 0, 0, 1],
            shared.raw_secret_bytes(),
            LABEL.as_bytes(),
            ephemeral_x,
            &x,
        ]);
        let mut encrypted = tpm2b(ephemeral_x);
        encrypted.extend(tpm2b(ephemeral_y));
        Ok((Zeroizing::new(seed), encrypted))
    }

    fn rsa_seed(&self, modulus: &[u8]) -> Result<(Zeroizing<[u8; 32]>, Vec<u8>), Error> {
        // The exponent field of storage keys is 0, which stands for 65537.
        let key = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from(65537_u32))
            .map_err(|_| Error::StorageKey {
                reason: "its modulus is no RSA key up to 4096 bits",
            })?;
        if key.n().bits() < 2048 {
            return Err(Error::StorageKey {
                reason: "its modulus is shorter than 2048 bits",
            });
        }
        let padding = Oaep::new_with_label::<sha2::Sha256, _>(LABEL);
        let encrypted = key
            .encrypt(&mut OsRng, padding, &*self.ephemeral)
            .map_err(|_| Error::Random)?;
        Ok((self.ephemeral.clone(), encrypted))
    }
}

/// AES-CFB with an initialization vector of zeros.
fn encrypt(key: &[u8], bits: u16, data: &mut [u8]) -> Result<(), Error> {
    fn run<C>(key: &[u8], data: &mut [u8]) -> Result<(), Error>
    where
        C: aes::cipher::BlockEncryptMut + aes::cipher::BlockCipher + aes::cipher::KeyInit,
    {
        let key = key.get(..C::key_size()).unwrap_or_default();
        let cipher = C::new_from_slice(key).map(|cipher| {
            cfb_mode::Encryptor::<C>::inner_iv_init(
                cipher,
                &aes::cipher::Iv::<cfb_mode::Encryptor<C>>::default(),
            )
        });
        cipher
            .map(|cipher| cipher.encrypt(data))
            .map_err(|_| UNUSABLE_CIPHER)
    }
    match bits {
        128 => run::<aes::Aes128>(key, data),
        192 => run::<aes::Aes192>(key, data),
        256 => run::<aes::Aes256>(key, data),
        _ => Err(UNUSABLE_CIPHER),
    }
}

const UNUSABLE_CIPHER: Error = Error::StorageKey {
    reason: "it does not protect its children by AES with 128, 192 or 256 bits",
};

/// A coordinate, with the leading zeros that some TPMs leave out.
fn padded(coordinate: &[u8]) -> Result<[u8; 32], Error> {
    let mut padded = [0; 32];
    let start = 32_usize
        .checked_sub(coordinate.len())
        .filter(|&start| start < 32)
        .ok_or(Error::StorageKey {
            reason: "a coordinate of its point is not 32 bytes",
        })?;
    padded.split_at_mut(start).1.copy_from_slice(coordinate);
    Ok(padded)
}

/// `KDFa` of TPM 2.0 Part 1, clause 11.4.10.2, for one block of SHA-256.
fn kdf_a(key: &[u8; 32], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac(
        key,
        &[&[0, 0, 0, 1], label, &[0], context, &bits.to_be_bytes()],
    ))
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC fills a short key up with zeros to a block of the hash; done here, it cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block.split_at_mut(32).0.copy_from_slice(key);
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::digest::KeyInit>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use zeroize::Zeroizing;

    use super::Wrapping;
    use crate::hex;
    use crate::public_area::PublicArea;
    use crate::secret::AuthValue;

    fn check(state: &str, cases: &str) {
        let state: Value = serde_json::from_str(state).unwrap();
        let srk =
            PublicArea::parse(&hex::decode(state["srk_tpm2b_public"].as_str().unwrap()).unwrap())
                .unwrap();
        let cases: Value = serde_json::from_str(cases).unwrap();
        for case in cases.as_array().unwrap() {
            let field = |name: &str| hex::decode(case[name].as_str().unwrap()).unwrap();
            let array = |name: &str| Zeroizing::new(<[u8; 32]>::try_from(field(name)).unwrap());
            let ecc = case["ephemeral_private"].is_string();
            let ephemeral = array(if ecc { "ephemeral_private" } else { "seed" });
            let wrapping = Wrapping {
                ephemeral,
                seed_value: array("seed_value"),
            };
            let (seed, _) = wrapping.seed(&srk).unwrap();
            assert_eq!(hex::encode(&*seed), case["seed"]);
            let attributes = u32::from_str_radix(case["attributes"].as_str().unwrap(), 16).unwrap();
            let auth = AuthValue::trimmed(&field("auth_value"));
            let object = wrapping
                .wrap(
                    &srk,
                    &field("secret"),
                    &field("auth_policy"),
                    attributes,
                    &auth,
                )
                .unwrap();
            assert_eq!(hex::encode(object.public().as_bytes()), case["public"]);
            assert_eq!(object.public().name().to_string(), case["name"]);
            assert_eq!(hex::encode(object.private_value()), case["private"]);
            let secret = object.import_secret().unwrap();
            if ecc {
                assert_eq!(hex::encode(secret), case["encrypted_secret"]);
            } else {
                assert_eq!(secret.len(), 256); // OAEP is random
            }
        }
    }

    #[test]
    fn wraps_to_an_ecc_key_as_the_vectors_say() {
        check(
            include_str!("../tests/vectors/ecc-srk/tpm-state.json"),
            include_str!("../tests/vectors/ecc-srk/offline-seal.json"),
        );
    }

    #[test]
    fn wraps_to_an_rsa_key_as_the_vectors_say() {
        check(
            include_str!("../tests/vectors/rsa-srk/tpm-state.json"),
            include_str!("../tests/vectors/rsa-srk/offline-seal.json"),
        );
    }
}
