use alloc::vec::Vec;
use core::fmt;

use crate::authenticated_update::signed_bytes;
use crate::{
    Attributes, AuthenticatedUpdate, Certificate, DB, DBR, DBT, DBX, EfiTime, Guid, HashAlgorithm,
    KEK, MOK_LIST, MOK_LIST_X, PK, VariableName, VerificationError,
};

/// What an authenticated update was signed for, and by whom: the file itself does not say, so the likely names, GUIDs and
/// attributes are tried.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The time in the header, which the signature covers.
    pub time: EfiTime,
    /// What it was signed for; nothing when it is unsigned, or signed for something that was not tried.
    pub signed_for: Option<SignedFor>,
    /// The certificates of the signers.
    pub signers: Vec<Certificate>,
    /// Why the signature is not good for anything that was tried.
    pub error: Option<VerificationError>,
}

/// A combination of name, GUID and attributes that a signature covers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SignedFor {
    /// The variable.
    pub name: VariableName,
    /// The attributes it must be written with.
    pub attributes: Attributes,
    /// Whether the name was hashed with its terminator, which firmware refuses.
    pub with_terminator: bool,
}

impl SignedFor {
    /// Whether firmware would ever take it: the right GUID for the name, attributes for a key variable, no terminator.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let attributes = [Attributes::KEY, Attributes::KEY_APPEND].contains(&self.attributes);
        !self.with_terminator
            && VariableName::well_known(self.name.name()).as_ref() == Some(&self.name)
            && attributes
    }
}

impl fmt::Display for SignedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with attributes {}", self.name, self.attributes)?;
        if self.with_terminator {
            f.write_str(", name hashed with its terminator")
        } else {
            Ok(())
        }
    }
}

/// The attributes that signers are known to use, the usual ones first.
const ATTRIBUTES: [u32; 9] = [0x27, 0x67, 0x07, 0x47, 0x26, 0x66, 0x23, 0x63, 0x37];

impl AuthenticatedUpdate<'_> {
    /// Finds out what it was signed for.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let names = [DB, DBX, KEK, PK, DBT, DBR, MOK_LIST, MOK_LIST_X];
        // The classic mistake: the right name under the other of the two GUIDs.
        let swapped = [DB, DBX, DBT, KEK, PK].into_iter().filter_map(|name| {
            let other = if name.vendor() == Guid::GLOBAL_VARIABLE {
                Guid::IMAGE_SECURITY_DATABASE
            } else {
                Guid::GLOBAL_VARIABLE
            };
            VariableName::new(name.name(), other).ok()
        });
        let names: Vec<VariableName> = names.into_iter().chain(swapped).collect();
        self.explain_among(&names)
    }

    /// Finds out which of these variables it was signed for.
    #[must_use]
    pub fn explain_among(&self, names: &[VariableName]) -> Explanation {
        let mut explanation = Explanation {
            time: self.time(),
            signed_for: None,
            signers: Vec::new(),
            error: None,
        };
        let signature = match self.signed_data() {
            Ok(Some(signature)) => signature,
            Ok(None) => {
                explanation.error = Some(VerificationError::NotSigned);
                return explanation;
            }
            Err(error) => {
                explanation.error = Some(error.into());
                return explanation;
            }
        };
        explanation.signers = signature.signer_certificates().flatten().cloned().collect();
        // A key is used once, not for each candidate: a large one of a stranger takes its time.
        let signed = signature.signed_digest();
        for with_terminator in [false, true] {
            for bits in ATTRIBUTES {
                for name in names {
                    let attributes = Attributes::from_bits(bits);
                    let mut content = signed_bytes(name, attributes, self.time(), self.value());
                    if with_terminator {
                        let end = name.to_utf16().len();
                        content.splice(end..end, [0, 0]);
                    }
                    let is_other = |(algorithm, digest): &(HashAlgorithm, Vec<u8>)| {
                        algorithm.digest(&[&content]) != *digest
                    };
                    if signed.as_ref().is_some_and(is_other) {
                        explanation.error = Some(VerificationError::BadSignature);
                        continue;
                    }
                    match signature.verify(&[&content]) {
                        Ok(_) => {
                            explanation.signed_for = Some(SignedFor {
                                name: name.clone(),
                                attributes,
                                with_terminator,
                            });
                            explanation.error = None;
                            return explanation;
                        }
                        Err(
                            error @ (VerificationError::BadSignature
                            | VerificationError::OtherContent),
                        ) => {
                            explanation.error = Some(error);
                        }
                        // No other candidate can change the rest.
                        Err(error) => {
                            explanation.error = Some(error);
                            return explanation;
                        }
                    }
                }
            }
        }
        explanation
    }
}
