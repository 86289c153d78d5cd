//! efivarfs on a fake: the immutable flag, one write, and what the error numbers mean.
#![cfg(all(feature = "std", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use efivars::{Attributes, DB, Efivarfs, FileSystem, LinuxFileSystem, PK, SECURE_BOOT};

#[derive(Default)]
struct Fake {
    files: RefCell<BTreeMap<String, (Vec<u8>, bool)>>,
    calls: std::rc::Rc<RefCell<Vec<String>>>,
    refuse: Option<i32>,
    delete: bool,
}

impl FileSystem for Fake {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.borrow().keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files
            .borrow()
            .get(name)
            .map(|(bytes, _)| bytes.clone())
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn write_once(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.calls
            .borrow_mut()
            .push(format!("write {} bytes", bytes.len()));
        if let Some(errno) = self.refuse {
            return Err(io::Error::from_raw_os_error(errno));
        }
        if self.delete {
            self.files.borrow_mut().remove(name);
        } else {
            self.files
                .borrow_mut()
                .insert(name.into(), (bytes.to_vec(), false));
        }
        Ok(())
    }

    fn is_immutable(&self, name: &str) -> io::Result<bool> {
        self.files
            .borrow()
            .get(name)
            .map(|(_, flag)| *flag)
            .ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn set_immutable(&self, name: &str, immutable: bool) -> io::Result<()> {
        self.calls
            .borrow_mut()
            .push(format!("immutable {immutable}"));
        match self.files.borrow_mut().get_mut(name) {
            Some((_, flag)) => {
                *flag = immutable;
                Ok(())
            }
            None => Err(io::Error::from_raw_os_error(2)),
        }
    }
}

fn with_db(mut fake: Fake) -> Efivarfs<Fake> {
    fake.files
        .get_mut()
        .insert(DB.to_string(), (vec![0x27, 0, 0, 0, 1, 2, 3], true));
    Efivarfs::on(fake)
}

#[test]
fn a_variable_is_read_without_its_attributes_and_an_empty_file_is_none() {
    let mut fake = Fake::default();
    fake.files.get_mut().insert(PK.to_string(), (vec![], false));
    fake.files
        .get_mut()
        .insert("not a variable".into(), (vec![], false));
    let machine = with_db(fake);
    let db = machine.read(&DB).unwrap().unwrap();
    assert_eq!(
        (db.attributes, db.data.as_slice()),
        (Attributes::KEY, &[1, 2, 3][..])
    );
    assert_eq!(machine.read(&PK).unwrap(), None);
    assert_eq!(machine.read(&SECURE_BOOT).unwrap(), None);
    assert_eq!(machine.list().unwrap(), [PK, DB]);
}

#[test]
fn the_immutable_flag_is_cleared_for_one_write_and_set_again() {
    for (delete, refuse) in [(false, None), (true, None), (false, Some(13))] {
        let fake = Fake {
            delete,
            refuse,
            ..Fake::default()
        };
        let calls = fake.calls.clone();
        let machine = with_db(fake);
        assert_eq!(
            machine.write_raw(&DB, Attributes::KEY, &[0; 40]).is_ok(),
            refuse.is_none()
        );
        assert_eq!(
            *calls.borrow(),
            ["immutable false", "write 44 bytes", "immutable true"]
        );
    }
    let fake = Fake::default();
    let calls = fake.calls.clone();
    Efivarfs::on(fake)
        .write_raw(&DB, Attributes::KEY_APPEND, &[0; 40])
        .unwrap();
    assert_eq!(*calls.borrow(), ["write 44 bytes"]);
}

#[test]
fn each_error_number_is_told_with_its_meaning() {
    for (errno, meaning) in [
        (13, "EFI_SECURITY_VIOLATION"),
        (1, "not root"),
        (22, "EFI_INVALID_PARAMETER"),
        (28, "EFI_OUT_OF_RESOURCES"),
        (30, "EFI_WRITE_PROTECTED"),
        (5, "EFI_NOT_FOUND"),
        (2, "not mounted"),
        (4, "EFI_ABORTED"),
    ] {
        let machine = with_db(Fake {
            refuse: Some(errno),
            ..Fake::default()
        });
        let error = machine
            .write_raw(&DB, Attributes::KEY, &[0; 40])
            .unwrap_err();
        assert!(error.to_string().contains(meaning), "{errno}: {error}");
        assert!(
            error.to_string().starts_with("writing of db-d719b2cb"),
            "{error}"
        );
    }
}

#[test]
fn files_on_disk_are_written_with_attributes_in_front() {
    let folder = tempfile::tempdir().unwrap();
    let files = LinuxFileSystem::new(folder.path());
    files
        .write_once(&SECURE_BOOT.to_string(), &[6, 0, 0, 0, 1])
        .unwrap();
    assert_eq!(
        files.read(&SECURE_BOOT.to_string()).unwrap(),
        [6, 0, 0, 0, 1]
    );
    assert_eq!(files.list().unwrap(), [SECURE_BOOT.to_string()]);
    let machine = Efivarfs::on(files);
    assert_eq!(machine.read(&SECURE_BOOT).unwrap().unwrap().data, [1]);
}
