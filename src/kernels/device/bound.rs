//! Numbers of the caller as bytes, and whether they fit a plan: what executors have in common.

use super::plan::{Buffer, DeviceError, Element, Host, Plan, Role, fits};

/// A number without padding, of which any bits are one.
trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for u16 {}
impl Plain for u32 {}

fn bytes<T: Plain>(x: &[T]) -> &[u8] {
    // SAFETY: the same memory, of numbers without padding.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), size_of_val(x)) }
}

fn bytes_mut<T: Plain>(x: &mut [T]) -> &mut [u8] {
    // SAFETY: the same memory, of numbers without padding that any bits are.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), size_of_val(x)) }
}

impl Host<'_> {
    fn shape(&self) -> (usize, Element) {
        match self {
            Self::Read(v) => (v.len(), Element::F32),
            Self::Write(v) => (v.len(), Element::F32),
            Self::ReadBf16(v) => (v.len(), Element::Bf16),
            Self::WriteBf16(v) => (v.len(), Element::Bf16),
            Self::ReadU32(v) => (v.len(), Element::U32),
            Self::WriteU32(v) => (v.len(), Element::U32),
        }
    }

    /// What goes to the device.
    fn source(&self) -> Option<&[u8]> {
        match self {
            Self::Read(v) => Some(bytes(v)),
            Self::ReadBf16(v) => Some(bytes(v)),
            Self::ReadU32(v) => Some(bytes(v)),
            _ => None,
        }
    }

    /// Where to what comes from the device.
    pub(super) fn target(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Write(v) => Some(bytes_mut(v)),
            Self::WriteBf16(v) => Some(bytes_mut(v)),
            Self::WriteU32(v) => Some(bytes_mut(v)),
            _ => None,
        }
    }
}

impl Plan {
    /// What each buffer starts with: inputs from the bindings, tables from the plan, the others without. All bindings are checked, and the
    /// buffers of launches are there.
    pub(super) fn sources<'a>(&'a self, bindings: &'a [(usize, Host<'_>)]) -> Result<Vec<Option<&'a [u8]>>, DeviceError> {
        let count = self.buffers.len();
        for (place, host) in bindings {
            fits(*place < count, || format!("numbers for buffer {place} of {count}"))?;
            let b = &self.buffers[*place];
            fits(host.shape() == (b.elements, b.element), || {
                format!("{}: {:?} given, {} numbers of {:?} expected", b.name, host.shape(), b.elements, b.element)
            })?;
        }
        for launch in &self.launches {
            fits(launch.buffers.iter().flatten().all(|b| *b < count), || {
                format!("{}: a buffer that is not there", launch.entry)
            })?;
        }
        let source = |(place, b): (usize, &'a Buffer)| match &b.role {
            Role::Input => {
                let bound = bindings.iter().find(|(p, _)| *p == place).and_then(|(_, host)| host.source());
                bound.map(Some).ok_or_else(|| DeviceError::Sizes(format!("{} is not given", b.name)))
            }
            Role::Table(numbers) => {
                fits((numbers.len(), Element::U32) == (b.elements, b.element), || {
                    format!("{}: a table of another size", b.name)
                })?;
                Ok(Some(bytes(numbers)))
            }
            Role::Output | Role::Scratch => Ok(None),
        };
        self.buffers.iter().enumerate().map(source).collect()
    }
}
