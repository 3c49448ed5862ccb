//! The kernels' text for Metal, whose compiler runs with the program and opens no files: includes are pasted in, each file once.

/// Every file that a `.metal` file may include, by its path in this folder.
const FILES: [(&str, &str); 24] = [
    ("compat/metal.h", include_str!("compat/metal.h")),
    ("compat/sh.h", include_str!("compat/sh.h")),
    ("args/probes.h", include_str!("args/probes.h")),
    ("args/conv.h", include_str!("args/conv.h")),
    ("args/selective.h", include_str!("args/selective.h")),
    ("args/ssd.h", include_str!("args/ssd.h")),
    ("args/mamba3.h", include_str!("args/mamba3.h")),
    ("args/tensor.h", include_str!("args/tensor.h")),
    ("shared/tiles.h", include_str!("shared/tiles.h")),
    ("shared/probes.h", include_str!("shared/probes.h")),
    ("shared/probes.entry.h", include_str!("shared/probes.entry.h")),
    ("shared/conv.h", include_str!("shared/conv.h")),
    ("shared/conv.entry.h", include_str!("shared/conv.entry.h")),
    ("shared/selective.h", include_str!("shared/selective.h")),
    ("shared/selective_back.h", include_str!("shared/selective_back.h")),
    ("shared/selective.entry.h", include_str!("shared/selective.entry.h")),
    ("shared/ssd.h", include_str!("shared/ssd.h")),
    ("shared/ssd_back.h", include_str!("shared/ssd_back.h")),
    ("shared/ssd.entry.h", include_str!("shared/ssd.entry.h")),
    ("shared/mamba3.h", include_str!("shared/mamba3.h")),
    ("shared/mamba3.entry.h", include_str!("shared/mamba3.entry.h")),
    ("shared/tensor.h", include_str!("shared/tensor.h")),
    ("shared/tensor_sparse.h", include_str!("shared/tensor_sparse.h")),
    ("shared/tensor.entry.h", include_str!("shared/tensor.entry.h")),
];

/// A family of kernels: one library of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Probes,
    Conv,
    Selective,
    Ssd,
    Mamba3,
    Tensor,
}

impl Family {
    pub const ALL: [Self; 6] = [Self::Probes, Self::Conv, Self::Selective, Self::Ssd, Self::Mamba3, Self::Tensor];

    /// The family of an entry, by its name.
    pub fn of(entry: &str) -> Option<Self> {
        match entry.strip_prefix("shoal_")?.split_once('_')?.0 {
            "probe" => Some(Self::Probes),
            "conv" => Some(Self::Conv),
            "selective" => Some(Self::Selective),
            "ssd" => Some(Self::Ssd),
            "mamba3" => Some(Self::Mamba3),
            "tensor" => Some(Self::Tensor),
            _ => None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Probes => include_str!("metal/probes.metal"),
            Self::Conv => include_str!("metal/conv.metal"),
            Self::Selective => include_str!("metal/selective.metal"),
            Self::Ssd => include_str!("metal/ssd.metal"),
            Self::Mamba3 => include_str!("metal/mamba3.metal"),
            Self::Tensor => include_str!("metal/tensor.metal"),
        }
    }
}

/// The text of a family, to be compiled with safe mathematics (not "fast") as Metal 3.1 or later.
pub fn source(family: Family) -> String {
    let mut seen = Vec::new();
    let mut out = String::new();
    paste(family.text(), "metal", &mut seen, &mut out);
    out
}

/// Adds `text`, a file of `folder`, with what it includes. What is not in [`FILES`] stays as it is.
fn paste(text: &str, folder: &str, seen: &mut Vec<&'static str>, out: &mut String) {
    for line in text.lines() {
        let included = line.strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"'));
        let path = included.map(|path| path.strip_prefix("../").map_or_else(|| format!("{folder}/{path}"), str::to_string));
        match path.and_then(|path| FILES.iter().find(|(name, _)| *name == path)) {
            Some((name, _)) if seen.contains(name) => {}
            Some((name, text)) => {
                seen.push(name);
                let folder = name.split('/').next().unwrap_or_default();
                paste(text, folder, seen, out);
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
}
