//! For which machine the program is, by its own header, and whether an image with nothing else can start it.

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};

/// ELF: machines by number, with the names that images have for them.
const MACHINES: [(u16, &str); 2] = [(0x3e, "amd64"), (0xb7, "arm64")];

/// ELF: the entry of the program header that names a loader.
const PT_INTERP: usize = 3;

/// Tells the architecture of an image by the program that it starts.
///
/// # Errors
/// There is no such program, it is for another machine, or needs a loader that the image lacks.
pub(crate) fn architecture(root: &Path, entrypoint: &[String]) -> anyhow::Result<&'static str> {
    let named = entrypoint.first().context("there is no ENTRYPOINT")?;
    let path = root.join(named.trim_start_matches('/'));
    let bytes = fs::read(&path).with_context(|| format!("cannot read the program {}", path.display()))?;
    let header = Header::of(&bytes).with_context(|| format!("{} is no program of 64 bits", path.display()))?;
    let known = MACHINES.iter().find(|(number, _)| *number == header.machine);
    let Some((_, name)) = known else {
        bail!(
            "{} is for a machine that images are not made for: {:#x}",
            path.display(),
            header.machine
        )
    };
    if let Some(loader) = header.loader {
        ensure!(
            root.join(loader.trim_start_matches('/')).exists(),
            "{} is not static: it needs {loader}, which the image lacks",
            path.display()
        );
    }
    Ok(name)
}

struct Header {
    machine: u16,
    loader: Option<String>,
}

impl Header {
    /// Reads the header of a little-endian ELF file of 64 bits.
    ///
    /// ```text
    ///  0  7f 'E' 'L' 'F'   4  class 2   5  data 1     18  machine, 2
    /// 32  offset of the program header, 8           54  size of its entries, 2   56  their number, 2
    /// entry:  0  type, 4   8  offset, 8   32  size in the file, 8
    /// ```
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
            return None;
        }
        let (start, size) = (number(bytes, 32, 8)?, number(bytes, 54, 2)?);
        let mut loader = None;
        for index in 0..number(bytes, 56, 2)? {
            let entry = start.checked_add(index.checked_mul(size)?)?;
            if number(bytes, entry, 4)? == PT_INTERP {
                let from = number(bytes, entry.checked_add(8)?, 8)?;
                let length = number(bytes, entry.checked_add(32)?, 8)?;
                let text = bytes.get(from..from.checked_add(length)?)?;
                loader = Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
            }
        }
        let machine = u16::try_from(number(bytes, 18, 2)?).ok()?;
        Some(Self { machine, loader })
    }
}

/// A number of up to eight bytes, the least significant first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    let value = bytes
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}
