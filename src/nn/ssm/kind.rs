//! A kind of block by name, and its configuration from sizes that all kinds share.

use super::{Mamba1Config, Mamba2Config, Mamba3Config, MixerConfig, S4Config, StateInit};
use crate::kernels::scan::causal_conv::MOST_TAPS;
use crate::kernels::scan::step_size::Rate;
use serde::{Deserialize, Serialize};

/// Which scan a block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockKind {
    /// Diagonal plus low rank, fixed in time.
    S4,
    /// Diagonal, fixed in time.
    S4d,
    Mamba,
    Mamba2,
    Mamba3,
}

/// Sizes and settings; each kind takes those that it has a use for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockSizes {
    /// Width of the stream.
    pub width: usize,
    /// States of a channel.
    pub states: usize,
    /// Channels of the scan over the width.
    pub expand: usize,
    /// Taps of the convolution.
    pub taps: usize,
    /// Channels of a head.
    pub head_width: usize,
    /// Step sizes at the start are drawn between.
    pub steps: [f64; 2],
    /// Longest sequence (s4).
    pub longest: usize,
    /// Where the states start (s4, s4d); the kind's usual start without.
    pub init: Option<StateInit>,
    /// Zero-order hold instead of the bilinear rule (s4d).
    pub hold: bool,
    /// In both directions (s4, s4d).
    pub bidirectional: bool,
    /// How decay rates come from their projection (mamba3).
    pub rate: Rate,
    /// Share of the states that is rotated (mamba3).
    pub rope_fraction: f64,
}

impl BlockSizes {
    /// Two channels of the scan for each of the stream, heads of 16, steps from 1e-3 to 1e-1.
    pub fn new(width: usize, states: usize, longest: usize) -> Self {
        Self {
            width,
            states,
            expand: 2,
            taps: 4,
            head_width: 16,
            steps: super::STEPS,
            longest,
            init: None,
            hold: true,
            bidirectional: false,
            rate: Rate::HeavyTail,
            rope_fraction: 0.5,
        }
    }
}

impl BlockKind {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::S4 => "s4",
            Self::S4d => "s4d",
            Self::Mamba => "mamba",
            Self::Mamba2 => "mamba2",
            Self::Mamba3 => "mamba3",
        }
    }

    /// Whether its channels come in heads.
    pub fn has_heads(self) -> bool {
        matches!(self, Self::Mamba2 | Self::Mamba3)
    }

    /// Whether a short convolution stands before the scan.
    pub fn has_convolution(self) -> bool {
        matches!(self, Self::Mamba | Self::Mamba2)
    }

    /// Whether it is the same system at every step, as wide as the stream.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::S4 | Self::S4d)
    }

    /// The block's configuration.
    ///
    /// # Errors
    /// What is wrong with the sizes, in words, with the option that sets them.
    pub fn block(self, sizes: &BlockSizes) -> Result<MixerConfig, String> {
        let BlockSizes { width, states, expand, taps, head_width, steps, longest, hold, bidirectional, .. } = *sizes;
        let name = self.name();
        let channels = expand * width;
        if self.has_heads() && (head_width == 0 || !channels.is_multiple_of(head_width)) {
            return Err(format!("{name}: {channels} channels do not make heads of {head_width}: set --head-width"));
        }
        if (self == Self::Mamba3 || self.is_fixed()) && !states.is_multiple_of(2) {
            return Err(format!("{name}: states come in pairs, and {states} is odd: set --d-state"));
        }
        if self.has_convolution() && taps > MOST_TAPS {
            return Err(format!("{name}: d_conv is {taps}, expected {MOST_TAPS} at most"));
        }
        let [low, high] = steps;
        let ordered = low > 0.0 && low <= high && high.is_finite();
        if !ordered {
            return Err(format!("{name}: --dt-min {low} and --dt-max {high} must be numbers above 0, the smaller first"));
        }
        Ok(match self {
            Self::S4 | Self::S4d => {
                let init = sizes.init.unwrap_or(if self == Self::S4 { StateInit::Legs } else { StateInit::S4dLin });
                if init.is_diagonal() != (self == Self::S4d) {
                    let starts = if self == Self::S4d { "one that begins with s4d-" } else { "legs, legt or fout" };
                    return Err(format!("{name}: --init {} belongs to the other kind: choose {starts}", init.name()));
                }
                MixerConfig::S4(S4Config { width, states, init, dt: steps, hold, bidirectional, longest })
            }
            Self::Mamba => MixerConfig::Mamba1(Mamba1Config { steps, states, expand, taps, ..Mamba1Config::new(width) }),
            Self::Mamba2 => {
                let scan_channels = channels;
                let plain = Mamba2Config::new(width);
                MixerConfig::Mamba2(Mamba2Config { steps, states, expand, taps, head_width, scan_channels, ..plain })
            }
            Self::Mamba3 => {
                let (rate, rope_fraction) = (sizes.rate, sizes.rope_fraction);
                let plain = Mamba3Config::new(width);
                MixerConfig::Mamba3(Mamba3Config { steps, states, expand, head_width, rate, rope_fraction, ..plain })
            }
        })
    }
}
