//! Images and databases about which firmware of both generations was asked in `examples/bootlab`.

use authenticode::{HashAlgorithm, Image, ImageOptions, SignatureType};

use super::forge::*;
use super::variants::digest_of;

/// A question to firmware, with its answers: 2022.11 and 2025.02.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) db: Vec<u8>,
    pub(crate) dbx: Vec<u8>,
    pub(crate) dbt: Vec<u8>,
    pub(crate) image: Vec<u8>,
    pub(crate) accepted: [bool; 2],
}

const YES: [bool; 2] = [true, true];
const NO: [bool; 2] = [false, false];
/// Only the newer firmware looks up other hashes than SHA-256.
const NEWER: [bool; 2] = [false, true];

pub(crate) struct Keys {
    pub(crate) root: Key,
    pub(crate) middle: Key,
    pub(crate) leaf: Key,
    pub(crate) other: Key,
}

struct List<'a> {
    base: &'a [u8],
    keys: &'a Keys,
    root: Vec<u8>,
    middle: Vec<u8>,
    leaf: Vec<u8>,
    /// Issued by the root itself.
    direct: Vec<u8>,
    other: Vec<u8>,
    all: Vec<Case>,
}

fn list(kind: SignatureType, value: &[u8]) -> Vec<u8> {
    signature_list(kind.0.0, value)
}

fn x509(certificate: &[u8]) -> Vec<u8> {
    list(SignatureType::X509, certificate)
}

/// The hash of a certificate's signed part, and when it was revoked (year, month, day).
fn revoked(hash: HashAlgorithm, certificate: &[u8], (year, month, day): (u16, u8, u8)) -> Vec<u8> {
    let body = value_of(certificate);
    let len = 4 + usize::from(body[2]) * 256 + usize::from(body[3]);
    let kind = match hash {
        Sha256 => SignatureType::X509_SHA256,
        Sha384 => SignatureType::X509_SHA384,
        _ => SignatureType::X509_SHA512,
    };
    let mut value = digest(hash, &body[..len]);
    value.extend_from_slice(&year.to_le_bytes());
    value.extend_from_slice(&[month, day]);
    value.extend_from_slice(&[0; 12]);
    list(kind, &value)
}

fn image_hash(hash: HashAlgorithm, digest: &[u8]) -> Vec<u8> {
    list(SignatureType::of_image_hash(hash), digest)
}

const NEVER: (u16, u8, u8) = (0, 0, 0);

impl List<'_> {
    fn add(
        &mut self,
        accepted: [bool; 2],
        name: &'static str,
        db: &[u8],
        dbx: &[u8],
        image: Vec<u8>,
    ) {
        self.all.push(Case {
            name,
            db: db.to_vec(),
            dbx: dbx.to_vec(),
            dbt: Vec::new(),
            image,
            accepted,
        });
    }

    fn cms(&self, key: &Key, certificates: &[&[u8]]) -> Cms {
        Cms::new(Sha256, &digest_of(self.base, Sha256), key, certificates)
    }

    fn image(&self, cms: &Cms) -> Vec<u8> {
        signed(self.base, &[Entry::new(&cms.build())])
    }

    /// Signed by the leaf below the intermediate below the root.
    fn chained(&self) -> Cms {
        self.cms(&self.keys.leaf, &[&self.leaf, &self.middle])
    }

    /// Signed by the leaf of the root.
    fn direct(&self) -> Cms {
        self.cms(&self.keys.leaf, &[&self.direct])
    }

    fn by_other(&self) -> Cms {
        self.cms(&self.keys.other, &[&self.other])
    }

    /// Signed by a leaf with this chain, the root being in db.
    fn chain(
        &mut self,
        accepted: [bool; 2],
        name: &'static str,
        root: &[u8],
        certificates: &[&[u8]],
    ) {
        let image = self.image(&self.cms(&self.keys.leaf, certificates));
        self.add(accepted, name, &x509(root), &[], image);
    }
}

pub(crate) fn cases(base: &[u8], keys: &Keys) -> Vec<Case> {
    let mut list = List {
        base,
        root: Certificate::new("root", "root", 1)
            .ca(true)
            .sign(&keys.root, &keys.root),
        middle: Certificate::new("middle", "root", 2)
            .ca(true)
            .sign(&keys.middle, &keys.root),
        leaf: Certificate::new("leaf", "middle", 3).sign(&keys.leaf, &keys.middle),
        direct: Certificate::new("direct", "root", 4).sign(&keys.leaf, &keys.root),
        other: Certificate::new("other", "other", 5)
            .ca(true)
            .sign(&keys.other, &keys.other),
        keys,
        all: Vec::new(),
    };
    forbidden_certificates(&mut list);
    revocation_times(&mut list);
    hashes(&mut list);
    second_entries(&mut list);
    anchors(&mut list);
    chains(&mut list);
    names(&mut list);
    forms(&mut list);
    list.all
}

fn forbidden_certificates(list: &mut List<'_>) {
    let (db, image) = (x509(&list.root), list.image(&list.chained()));
    let denied = [
        ("the root is in dbx", x509(&list.root), NO),
        ("the intermediate is in dbx", x509(&list.middle), NO),
        ("the signer is in dbx", x509(&list.leaf), NO),
        ("a stranger is in dbx", x509(&list.other), YES),
        (
            "the hash of the signer is in dbx",
            revoked(Sha256, &list.leaf, NEVER),
            NO,
        ),
        (
            "the SHA-384 hash of the signer is in dbx",
            revoked(Sha384, &list.leaf, NEVER),
            NO,
        ),
        (
            "the SHA-512 hash of the signer is in dbx",
            revoked(Sha512, &list.leaf, NEVER),
            NO,
        ),
        (
            "the hash of the intermediate is in dbx",
            revoked(Sha256, &list.middle, NEVER),
            YES,
        ),
        (
            "the hash of the root is in dbx",
            revoked(Sha256, &list.root, NEVER),
            NO,
        ),
    ];
    for (name, dbx, accepted) in denied {
        list.add(accepted, name, &db, &dbx, image.clone());
    }
    // The first certificate that fits decides, even if the next one would do.
    let both = [x509(&list.middle), db].concat();
    let dbx = revoked(Sha256, &list.middle, NEVER);
    list.add(
        NO,
        "the first anchor of db is revoked, the second is not",
        &both,
        &dbx,
        image,
    );
}

fn revocation_times(list: &mut List<'_>) {
    let authority = Certificate::new("tsa", "tsa", 6)
        .ca(true)
        .sign(&list.keys.other, &list.keys.other);
    let blob = list.direct().build();
    let image = Image::parse(&signed(list.base, &[Entry::new(&blob)])).unwrap();
    let token = timestamp(
        &list.keys.other,
        &authority,
        &image.signature_value(0).unwrap(),
        "20250601120000Z",
    );
    let stamped = list.direct().signer(|signer| {
        signer.unsigned = vec![attribute("1.3.6.1.4.1.311.3.3.1", &token)];
    });
    let (db, image) = (x509(&list.root), list.image(&stamped));
    let plain = list.image(&list.direct());
    let (early, late) = (
        revoked(Sha256, &list.direct, (2025, 5, 1)),
        revoked(Sha256, &list.direct, (2025, 7, 1)),
    );
    let dbt = x509(&authority);
    list.add(NO, "revoked later, but no timestamp", &db, &late, plain);
    list.add(
        NO,
        "stamped before the revocation, but no dbt",
        &db,
        &late,
        image.clone(),
    );
    list.add(
        YES,
        "stamped before the revocation",
        &db,
        &late,
        image.clone(),
    );
    list.all.last_mut().unwrap().dbt = dbt.clone();
    list.add(NO, "stamped after the revocation", &db, &early, image);
    list.all.last_mut().unwrap().dbt = dbt;
}

fn hashes(list: &mut List<'_>) {
    let base = list.base;
    let db = x509(&list.root);
    let sha256 = image_hash(Sha256, &digest_of(base, Sha256));
    let sha384 = image_hash(Sha384, &digest_of(base, Sha384));
    let direct = list.image(&list.direct());
    list.add(
        NO,
        "signed, and its hash is in dbx",
        &db,
        &sha256,
        direct.clone(),
    );
    list.add(
        YES,
        "signed, and its hash by another algorithm is in dbx",
        &db,
        &sha384,
        direct,
    );
    let stranger = list.image(&list.by_other());
    list.add(
        YES,
        "by a stranger, but its hash is in db",
        &sha256,
        &[],
        stranger,
    );
    for (hash, name, accepted) in [
        (Sha1, "unsigned, SHA-1 in db", NEWER),
        (Sha256, "unsigned, SHA-256 in db", YES),
        (Sha384, "unsigned, SHA-384 in db", NEWER),
        (Sha512, "unsigned, SHA-512 in db", NEWER),
    ] {
        list.add(
            accepted,
            name,
            &image_hash(hash, &digest_of(base, hash)),
            &[],
            base.to_vec(),
        );
    }
    list.add(
        NO,
        "unsigned, in db and in dbx",
        &sha256,
        &sha256,
        base.to_vec(),
    );
    list.add(
        [true, false],
        "unsigned, in db and by another hash in dbx",
        &sha256,
        &sha384,
        base.to_vec(),
    );
    let odd = [base, &[1, 2, 3][..]].concat();
    let image = Image::parse_with(&odd, &ImageOptions::new()).unwrap();
    let loaded = image_hash(Sha256, image.digest_as_loaded(Sha256).unwrap().as_bytes());
    let padded = image_hash(Sha256, image.digest_for_signing(Sha256).unwrap().as_bytes());
    list.add(
        YES,
        "unsigned and unaligned, the digest without padding in db",
        &loaded,
        &[],
        odd.clone(),
    );
    list.add(
        NO,
        "unsigned and unaligned, the digest with padding in db",
        &padded,
        &[],
        odd,
    );
}

fn second_entries(list: &mut List<'_>) {
    let db = x509(&list.root);
    let (good, foreign) = (list.direct().build(), list.by_other().build());
    let elsewhere = Cms::new(Sha256, &[7; 32], &list.keys.other, &[&list.other]).build();
    let mut unreadable = list.by_other();
    unreadable.certificates.clear();
    let unreadable = unreadable.build();
    let two = |second: &[u8]| signed(list.base, &[Entry::new(&good), Entry::new(second)]);
    let (by_other, for_other, without_signer, garbage) = (
        two(&foreign),
        two(&elsewhere),
        two(&unreadable),
        two(&[0x5a; 300]),
    );
    let other = x509(&list.other);
    let hash = revoked(Sha256, &list.other, NEVER);
    let unrelated = image_hash(Sha256, &[9; 32]);
    list.add(
        NO,
        "a second signature by someone in dbx",
        &db,
        &other,
        by_other.clone(),
    );
    list.add(
        NO,
        "a second signature by someone whose hash is in dbx",
        &db,
        &hash,
        by_other,
    );
    list.add(
        YES,
        "a second signature for another image by someone in dbx",
        &db,
        &other,
        for_other.clone(),
    );
    list.add(
        NO,
        "a second signature for another image by someone whose hash is in dbx",
        &db,
        &hash,
        for_other,
    );
    list.add(
        NO,
        "a second signature without its signer, with some dbx",
        &db,
        &unrelated,
        without_signer.clone(),
    );
    list.add(
        YES,
        "a second signature without its signer, without dbx",
        &db,
        &[],
        without_signer,
    );
    list.add(
        YES,
        "garbage as a second signature, with some dbx",
        &db,
        &unrelated,
        garbage,
    );
    // The second is made for SHA-384: each signature is judged by its own digest.
    let sha384 = Cms::new(
        Sha384,
        &digest_of(list.base, Sha384),
        &list.keys.leaf,
        &[&list.direct],
    )
    .build();
    let mixed = signed(list.base, &[Entry::new(&foreign), Entry::new(&sha384)]);
    list.add(
        YES,
        "by a stranger with SHA-256, then trusted with SHA-384",
        &db,
        &[],
        mixed,
    );
}

fn anchors(list: &mut List<'_>) {
    let chained = list.image(&list.chained());
    let (middle, leaf, root) = (list.middle.clone(), list.leaf.clone(), list.root.clone());
    list.add(
        YES,
        "only the intermediate is in db",
        &x509(&middle),
        &[],
        chained.clone(),
    );
    list.add(YES, "only the signer is in db", &x509(&leaf), &[], chained);
    let no_ca = Certificate::new("middle", "root", 12)
        .ca(false)
        .sign(&list.keys.middle, &list.keys.root);
    let image = list.image(&list.cms(&list.keys.leaf, &[&leaf, &no_ca]));
    list.add(
        NO,
        "the signer is in db, its issuer is embedded and no authority",
        &x509(&leaf),
        &[],
        image,
    );
    list.chain(
        YES,
        "the root is embedded too",
        &root,
        &[&leaf, &middle, &root],
    );
    let own = Certificate::new("own", "own", 13)
        .ca(false)
        .sign(&list.keys.leaf, &list.keys.leaf);
    list.chain(
        YES,
        "self-signed, no authority, itself in db",
        &own,
        &[&own],
    );
    let plain = Certificate::new("own", "own", 14).sign(&list.keys.leaf, &list.keys.leaf);
    list.chain(
        YES,
        "self-signed without extensions, itself in db",
        &plain,
        &[&plain],
    );
    let mimic = Certificate::new("own", "own", 14).sign(&list.keys.other, &list.keys.other);
    list.chain(
        NO,
        "self-signed, another of the same name in db",
        &mimic,
        &[&plain],
    );
}

fn chains(list: &mut List<'_>) {
    let keys = list.keys;
    let root = list.root.clone();
    let short = Certificate::new("root", "root", 21)
        .ca(true)
        .path_len(0)
        .sign(&keys.root, &keys.root);
    let (leaf, middle, direct) = (list.leaf.clone(), list.middle.clone(), list.direct.clone());
    list.chain(YES, "path length 0, no intermediate", &short, &[&direct]);
    list.chain(
        NO,
        "path length 0, one intermediate",
        &short,
        &[&leaf, &middle],
    );
    let limited = Certificate::new("middle", "root", 22)
        .ca(true)
        .path_len(0)
        .sign(&keys.middle, &keys.root);
    let below = Certificate::new("below", "middle", 23)
        .ca(true)
        .sign(&keys.other, &keys.middle);
    let last = Certificate::new("last", "below", 24).sign(&keys.leaf, &keys.other);
    list.chain(
        NO,
        "path length 0 of an intermediate, another below it",
        &root,
        &[&last, &below, &limited],
    );
    let usage = extension("2.5.29.15", true, &[3, 2, 7, 0x80]);
    let no_sign = Certificate::new("middle", "root", 25)
        .ca(true)
        .extension(usage)
        .sign(&keys.middle, &keys.root);
    list.chain(
        NO,
        "an authority that may not sign certificates",
        &root,
        &[&leaf, &no_sign],
    );
    let strange = extension("1.2.3.4.5.6", true, &[5, 0]);
    let critical = Certificate::new("direct", "root", 26)
        .extension(strange.clone())
        .sign(&keys.leaf, &keys.root);
    list.chain(NO, "an unknown critical extension", &root, &[&critical]);
    let forged = Certificate::new("direct", "root", 27).sign(&keys.leaf, &keys.other);
    list.chain(
        NO,
        "the root did not sign the signer's certificate",
        &root,
        &[&forged],
    );
    let sha1 = Certificate::new("direct", "root", 28)
        .hash(Sha1)
        .sign(&keys.leaf, &keys.root);
    list.chain(YES, "a certificate signed with SHA-1", &root, &[&sha1]);
    let wrong_id = extension("2.5.29.35", false, &seq(&[&tlv(0x80, &[1; 20])]));
    let with_id = extension("2.5.29.14", false, &tlv(4, &[2; 20]));
    let issuer = Certificate::new("root", "root", 29)
        .ca(true)
        .extension(with_id)
        .sign(&keys.root, &keys.root);
    let mismatch = Certificate::new("direct", "root", 30)
        .extension(wrong_id)
        .sign(&keys.leaf, &keys.root);
    list.chain(
        NO,
        "the authority key identifier is another",
        &issuer,
        &[&mismatch],
    );
    let decoys: Vec<Vec<u8>> = (0..66)
        .map(|serial| {
            Certificate::new("decoy", "nobody", 100 + serial).sign(&keys.other, &keys.other)
        })
        .collect();
    let mut many: Vec<&[u8]> = vec![&leaf];
    many.extend(decoys.iter().map(Vec::as_slice));
    many.push(&middle);
    list.chain(YES, "66 decoys among the certificates", &root, &many);
}

fn names(list: &mut List<'_>) {
    let keys = list.keys;
    let root = list.root.clone();
    let shouted = Certificate::new("direct", "  ROOT ", 31).sign(&keys.leaf, &keys.root);
    list.chain(
        YES,
        "the issuer's name in capitals and spaces",
        &root,
        &[&shouted],
    );
    let constraint = |tag: u8, text: &str| {
        let subtree = seq(&[&tlv(0xa4, &name(text))]);
        extension("2.5.29.30", true, &seq(&[&tlv(tag, &subtree)]))
    };
    let limited = |serial, encoded| {
        Certificate::new("middle", "root", serial)
            .ca(true)
            .extension(encoded)
            .sign(&keys.middle, &keys.root)
    };
    let leaf = list.leaf.clone();
    let middle = limited(32, constraint(0xa0, "leaf"));
    list.chain(
        YES,
        "the signer's name is permitted",
        &root,
        &[&leaf, &middle],
    );
    let middle = limited(33, constraint(0xa0, "someone else"));
    list.chain(
        NO,
        "the signer's name is not permitted",
        &root,
        &[&leaf, &middle],
    );
    let middle = limited(34, constraint(0xa1, "leaf"));
    list.chain(
        NO,
        "the signer's name is excluded",
        &root,
        &[&leaf, &middle],
    );
    let anchor = Certificate::new("root", "root", 35)
        .ca(true)
        .extension(constraint(0xa0, "someone else"))
        .sign(&keys.root, &keys.root);
    let direct = list.direct.clone();
    list.chain(
        NO,
        "the anchor in db does not permit the signer's name",
        &anchor,
        &[&direct],
    );
}

fn forms(list: &mut List<'_>) {
    let db = x509(&list.root);
    let plain = list.direct();
    let wrong = attribute(MESSAGE_DIGEST, &tlv(4, &[0; 32]));
    let twice = plain
        .clone()
        .signer(|signer| signer.attributes.as_mut().unwrap().push(wrong));
    let image = list.image(&twice);
    list.add(
        YES,
        "messageDigest twice, the right one first",
        &db,
        &[],
        image,
    );
    let mut big = plain.clone();
    for serial in 0..120 {
        big.certificates.push(
            Certificate::new("filler", "nobody", serial).sign(&list.keys.other, &list.keys.other),
        );
    }
    let image = list.image(&big);
    list.add(
        NO,
        "a ContentInfo of more than 65,535 bytes",
        &db,
        &[],
        image,
    );
    let empty = plain.signer(|signer| signer.attributes = Some(Vec::new()));
    let image = list.image(&empty);
    list.add(
        NO,
        "an empty set of attributes, signed as one",
        &db,
        &[],
        image,
    );
    let mut driver = list.base.to_vec();
    let at = headers(&driver).checksum + 4;
    driver[at..at + 2].copy_from_slice(&3_u16.to_le_bytes());
    let cms = Cms::new(
        Sha256,
        &digest_of(&driver, Sha256),
        &list.keys.leaf,
        &[&list.direct],
    );
    list.add(
        NO,
        "a console program of Windows",
        &db,
        &[],
        signed(&driver, &[Entry::new(&cms.build())]),
    );
}
