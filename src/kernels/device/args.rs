//! The structures of arguments, as in `args/*.h`.

use super::plan::Args;

/// Declares a structure of 32-bit words that has the same bytes in C.
macro_rules! args {
    ($(#[$doc:meta])* $name:ident, $words:literal, { $($field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub(super) struct $name {
            $(pub $field: $kind,)*
        }
        const _: () = assert!(size_of::<$name>() == 4 * $words);
        impl Args for $name {
            fn bytes(&self) -> Vec<u8> {
                [$(self.$field.to_ne_bytes()),*].concat()
            }
        }
    };
}

args!(
    /// args/probes.h
    ProbeArgs, 2, { count: u32, kind: u32 }
);
args!(
    /// args/conv.h
    ConvArgs, 7, {
        channels: u32, taps: u32, pieces: u32,
        silu: u32, has_bias: u32, has_before: u32, has_dafter: u32,
    }
);
args!(
    /// args/selective.h
    SelectiveArgs, 15, {
        rows: u32, channels: u32, states: u32, groups: u32,
        per_group: u32, blocks: u32, sequences: u32, spans: u32,
        softplus: u32, has_skip: u32, has_bias: u32, has_z: u32, has_initial: u32, has_dlast: u32, carried: u32,
    }
);
args!(
    /// args/ssd.h
    SsdArgs, 12, {
        rows: u32, heads: u32, width: u32, groups: u32, states: u32, per_group: u32,
        chunk: u32, chunks: u32, sequences: u32, skip: u32, has_initial: u32, has_dlast: u32,
    }
);
args!(
    /// args/mamba3.h
    Mamba3Args, 21, {
        rows: u32, heads: u32, width: u32, groups: u32, states: u32, per_group: u32, rank: u32, angles: u32,
        chunk: u32, chunks: u32, sequences: u32, halves: u32, shared_angles: u32,
        has_initial: u32, has_z: u32, has_skip: u32, has_mix_x: u32, has_mix_z: u32, has_mix_out: u32, has_norm: u32,
        eps: f32,
    }
);
args!(
    /// args/tensor.h, a product
    TensorArgs, 13, {
        rows: u32, columns: u32, depth: u32, part: u32, inner: u32, outer: u32, step: u32,
        depth_step: u32, column_step: u32, out_inner: u32, left_modes: u32, modes: u32, batch: u32,
    }
);
args!(
    /// args/tensor.h, a row dot
    TensorDotArgs, 9, {
        outputs: u32, rank: u32, terms: u32, output_step: u32, term_step: u32, rows: u32, parts: u32, modes: u32, width: u32,
    }
);
args!(
    /// args/tensor.h, sorted nonzeros
    TensorSparseArgs, 6, { items: u32, stretch: u32, stretches: u32, rank: u32, width: u32, modes: u32 }
);
