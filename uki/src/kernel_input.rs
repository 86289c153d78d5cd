//! A kernel on its way into an image.

use crate::headers::{Headers, NX_COMPAT};
use crate::read_at::copy;
use crate::source::SourceAt;
use crate::{Error, Kernel, Machine, NotAKernel, SectionName, Source, kernel_version};

/// What the builder needs to know of a kernel.
pub(crate) struct KernelInput {
    pub(crate) source: Source,
    pub(crate) version: Option<String>,
    pub(crate) nx_compat: bool,
}

impl KernelInput {
    /// Identifies a kernel for a stub's machine; unpacks one that is compressed as a whole.
    pub(crate) fn new(
        mut source: Source,
        machine: Machine,
        is_checked: bool,
    ) -> Result<Self, Error> {
        if !is_checked {
            // As ukify: what is no PE image has no say about NX.
            let headers = Headers::read(&SourceAt::new(&source)?).ok();
            let nx_compat =
                headers.is_none_or(|headers| headers.dll_characteristics & NX_COMPAT != 0);
            let version = kernel_version(&SourceAt::new(&source)?).unwrap_or(None);
            return Ok(Self {
                version,
                source,
                nx_compat,
            });
        }
        let identified = Kernel::identify(&SourceAt::new(&source)?);
        let kernel = match identified {
            Err(Error::NotAKernel {
                found: NotAKernel::Compressed(compression),
            }) => {
                source = source.unpacked(compression)?;
                Kernel::identify(&SourceAt::new(&source)?)?
            }
            other => other?,
        };
        if !kernel.runs_on(machine) {
            let section = SectionName::LINUX;
            return Err(Error::MachineMismatch {
                section,
                found: kernel.machine(),
                expected: machine,
            });
        }
        Ok(Self {
            version: kernel.version().map(String::from),
            nx_compat: kernel.is_nx_compat(),
            source,
        })
    }
}

/// The `.sbat` of a PE image; none when it is no PE image or has none.
pub(crate) fn sbat_of(source: &Source) -> Result<Option<Vec<u8>>, Error> {
    let source = SourceAt::new(source)?;
    let Ok(headers) = Headers::read(&source) else {
        return Ok(None);
    };
    let Some(section) = headers.section(&SectionName::SBAT) else {
        return Ok(None);
    };
    copy(&source, ".sbat", section.raw_offset(), section.raw_len()).map(Some)
}
