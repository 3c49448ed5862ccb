//! Sizes of a language model, from the `config.json` of a checkpoint.

use super::ModelError;
use crate::kernels::scan::step_size::Rate;
use crate::nn::ssm::{Mamba1Config, Mamba2Config, Mamba3Config, MixerConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Rows of the hidden layer of a perceptron are rounded up to a multiple of this.
const MLP_MULTIPLE: usize = 128;

/// Sizes of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanguageModelConfig {
    pub vocabulary: usize,
    /// Rows of the embedding; those behind the vocabulary stand for nothing.
    pub padded_vocabulary: usize,
    pub width: usize,
    pub layers: usize,
    pub mixer: MixerConfig,
    /// Hidden width of the perceptron behind each mixer; 0: none.
    pub mlp: usize,
    /// The head is the embedding's weight.
    pub tied: bool,
    /// Added to the mean squares of the norms.
    pub eps: f64,
}

/// What a checkpoint does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelOptions {
    /// Mamba-3: how A comes from its projection.
    pub rate: Rate,
    /// Mamba-2: the norm goes over the whole width instead of a group, as Hugging Face's program did before its release 5.
    pub whole_norm: bool,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { rate: Rate::HeavyTail, whole_norm: false }
    }
}

/// Settings by key, with the name of the object they stand in.
struct Keys<'a> {
    object: &'a Map<String, Value>,
    path: &'static str,
    /// Keys that were asked for.
    known: Vec<&'static str>,
}

type Result<T> = std::result::Result<T, ModelError>;

impl<'a> Keys<'a> {
    fn new(object: &'a Map<String, Value>, path: &'static str) -> Self {
        Self { object, path, known: Vec::new() }
    }

    fn wrong<T>(&self, key: &str, expected: &str) -> Result<T> {
        let found = self.object.get(key).map_or("nothing".to_string(), Value::to_string);
        Err(ModelError::Config(format!("{}{key}: expected {expected}, got {found}", self.path)))
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.object.get(key).filter(|v| !v.is_null())
    }

    fn size(&mut self, key: &'static str, default: Option<usize>) -> Result<usize> {
        match (self.find(key), default) {
            (Some(v), _) => match v.as_u64() {
                Some(n) if (1..=1 << 32).contains(&n) => Ok(n as usize),
                _ => self.wrong(key, "a whole number above 0"),
            },
            (None, Some(default)) => Ok(default),
            (None, None) => self.wrong(key, "a whole number above 0"),
        }
    }

    fn flag(&mut self, key: &'static str, default: bool) -> Result<bool> {
        match self.find(key) {
            None => Ok(default),
            Some(v) => v.as_bool().map_or_else(|| self.wrong(key, "true or false"), Ok),
        }
    }

    fn number(&mut self, key: &'static str, default: f64) -> Result<f64> {
        match self.find(key) {
            None => Ok(default),
            Some(v) => v.as_f64().map_or_else(|| self.wrong(key, "a number"), Ok),
        }
    }

    /// Two numbers, the second of which may be "inf".
    fn range(&mut self, key: &'static str) -> Result<[f64; 2]> {
        let Some(v) = self.find(key) else { return Ok([0.0, f64::INFINITY]) };
        let number = |v: &Value| match v {
            Value::String(s) if s == INFINITY => Some(f64::INFINITY),
            v => v.as_f64(),
        };
        match v.as_array().map(|a| a.iter().map(number).collect::<Option<Vec<f64>>>()) {
            Some(Some(pair)) if pair.len() == 2 && pair[0] <= pair[1] => Ok([pair[0], pair[1]]),
            _ => self.wrong(key, "two numbers, the smaller first"),
        }
    }

    /// An error when the object holds a key that nothing asked for: a model of another kind would be computed wrongly in silence.
    fn no_others(&self) -> Result<()> {
        match self.object.keys().find(|k| !self.known.contains(&k.as_str())) {
            Some(key) => {
                Err(ModelError::Config(format!("{}{key}: not known, so the model cannot be computed with certainty", self.path)))
            }
            None => Ok(()),
        }
    }
}

/// What stands for Python's Infinity once the text is JSON.
const INFINITY: &str = "infinity";

/// Python writes infinity as a bare word, which is not JSON.
fn lenient(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !inside && rest.starts_with("Infinity") {
            out.push_str(&format!("\"{INFINITY}\""));
            rest = &rest["Infinity".len()..];
            continue;
        }
        if c == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn divides(path: &str, parts: usize, what: &str, whole: usize) -> Result<()> {
    if parts == 0 || !whole.is_multiple_of(parts) {
        return Err(ModelError::Config(format!("{path}: {parts} does not divide the {whole} {what}")));
    }
    Ok(())
}

impl LanguageModelConfig {
    /// Reads the configuration of state-spaces (`d_model`, `ssm_cfg`) or of Hugging Face (`model_type` mamba or mamba2).
    ///
    /// # Errors
    /// Text that is not JSON, keys that are missing, wrong, or mean another kind of model.
    pub fn from_json(text: &str, options: ModelOptions) -> Result<Self> {
        let value: Value = serde_json::from_str(&lenient(text)).map_err(|e| ModelError::Config(format!("not JSON: {e}")))?;
        let Value::Object(object) = value else {
            return Err(ModelError::Config("expected an object of settings".into()));
        };
        match object.get("model_type").and_then(Value::as_str) {
            Some("mamba") => hugging_face_1(&object),
            Some("mamba2") => hugging_face_2(&object, options),
            Some(other) => Err(ModelError::Config(format!("model_type: expected mamba or mamba2, got {other}"))),
            None => state_spaces(&object, options),
        }
    }
}

fn state_spaces(object: &Map<String, Value>, options: ModelOptions) -> Result<LanguageModelConfig> {
    let mut keys = Keys::new(object, "");
    let width = keys.size("d_model", None)?;
    let layers = keys.size("n_layer", None)?;
    let vocabulary = keys.size("vocab_size", None)?;
    let multiple = keys.size("pad_vocab_size_multiple", Some(8))?;
    let tied = keys.flag("tie_embeddings", true)?;
    if !keys.flag("rms_norm", true)? {
        return keys.wrong("rms_norm", "true: layer norms are not built");
    }
    if keys.find("attn_layer_idx").and_then(Value::as_array).is_some_and(|a| !a.is_empty()) {
        return keys.wrong("attn_layer_idx", "none: hybrids with attention layers are not built");
    }
    let hidden = match keys.find("d_intermediate") {
        None => 0,
        Some(v) => match v.as_u64() {
            Some(n) => (n as usize).next_multiple_of(MLP_MULTIPLE),
            None => return keys.wrong("d_intermediate", "a whole number"),
        },
    };
    let none = Map::new();
    let ssm = match keys.find("ssm_cfg") {
        None => &none,
        Some(Value::Object(ssm)) => ssm,
        Some(_) => return keys.wrong("ssm_cfg", "an object"),
    };
    let mut keys = Keys::new(ssm, "ssm_cfg.");
    let layer = keys.find("layer").map_or("Mamba1", |v| v.as_str().unwrap_or("?"));
    // Of the training program alone.
    for key in ["chunk_size", "use_mem_eff_path", "use_fast_path", "layer_idx"] {
        keys.known.push(key);
    }
    let mixer = match layer {
        "Mamba1" => MixerConfig::Mamba1(mamba1(&mut keys, width)?),
        "Mamba2" => MixerConfig::Mamba2(mamba2(&mut keys, width, options)?),
        "Mamba3" => MixerConfig::Mamba3(mamba3(&mut keys, width, options)?),
        _ => return keys.wrong("layer", "Mamba1, Mamba2 or Mamba3"),
    };
    keys.no_others()?;
    Ok(LanguageModelConfig {
        vocabulary,
        padded_vocabulary: vocabulary.next_multiple_of(multiple),
        width,
        layers,
        mixer,
        mlp: hidden,
        tied,
        eps: 1e-5,
    })
}

fn mamba1(keys: &mut Keys<'_>, width: usize) -> Result<Mamba1Config> {
    let plain = Mamba1Config::new(width);
    let dt_rank = match keys.object.get("dt_rank").and_then(Value::as_str) {
        Some("auto") => {
            keys.known.push("dt_rank");
            plain.dt_rank
        }
        _ => keys.size("dt_rank", Some(plain.dt_rank))?,
    };
    Ok(Mamba1Config {
        width,
        steps: plain.steps,
        states: keys.size("d_state", Some(plain.states))?,
        taps: keys.size("d_conv", Some(plain.taps))?,
        expand: keys.size("expand", Some(plain.expand))?,
        dt_rank,
        conv_bias: keys.flag("conv_bias", true)?,
        bias: keys.flag("bias", false)?,
    })
}

fn mamba2(keys: &mut Keys<'_>, width: usize, options: ModelOptions) -> Result<Mamba2Config> {
    let plain = Mamba2Config::new(width);
    let expand = keys.size("expand", Some(plain.expand))?;
    let scan_channels = keys.size("d_ssm", Some(expand * width))?;
    let head_width = keys.size("headdim", Some(plain.head_width))?;
    let groups = keys.size("ngroups", Some(plain.groups))?;
    keys.flag("D_has_hdim", false)?;
    if !keys.flag("rmsnorm", true)? {
        return keys.wrong("rmsnorm", "true: a gate without a norm is not built");
    }
    divides("ssm_cfg.headdim", head_width, "channels", scan_channels)?;
    divides("ssm_cfg.ngroups", groups, "heads", scan_channels / head_width)?;
    if scan_channels > expand * width {
        return keys.wrong("d_ssm", "at most expand * d_model");
    }
    Ok(Mamba2Config {
        width,
        steps: plain.steps,
        states: keys.size("d_state", Some(plain.states))?,
        taps: keys.size("d_conv", Some(plain.taps))?,
        expand,
        head_width,
        groups,
        scan_channels,
        dt_range: keys.range("dt_limit")?,
        norm_before_gate: keys.flag("norm_before_gate", false)?,
        whole_norm: options.whole_norm,
        eps: 1e-5,
        conv_bias: keys.flag("conv_bias", true)?,
        bias: keys.flag("bias", false)?,
    })
}

fn mamba3(keys: &mut Keys<'_>, width: usize, options: ModelOptions) -> Result<Mamba3Config> {
    let plain = Mamba3Config::new(width);
    let mimo = keys.flag("is_mimo", false)?;
    let rank = keys.size("mimo_rank", Some(4))?;
    let config = Mamba3Config {
        width,
        steps: plain.steps,
        states: keys.size("d_state", Some(plain.states))?,
        expand: keys.size("expand", Some(plain.expand))?,
        head_width: keys.size("headdim", Some(plain.head_width))?,
        groups: keys.size("ngroups", Some(plain.groups))?,
        mimo_rank: if mimo { rank } else { 0 },
        rope_fraction: keys.number("rope_fraction", plain.rope_fraction)?,
        rate: options.rate,
        floor: keys.number("A_floor", plain.floor)?,
        out_norm: keys.flag("is_outproj_norm", false)?,
        eps: plain.eps,
    };
    if ![0.5, 1.0].contains(&config.rope_fraction) {
        return keys.wrong("rope_fraction", "0.5 or 1");
    }
    divides("ssm_cfg.headdim", config.head_width, "channels", config.channels())?;
    divides("ssm_cfg.ngroups", config.groups, "heads", config.heads())?;
    divides("ssm_cfg.d_state", 2, "states", config.states)?;
    Ok(config)
}

/// What both of Hugging Face's layouts share: width, layers, vocabulary, eps.
fn hugging_face(keys: &mut Keys<'_>, mixer: MixerConfig, tied: bool) -> Result<LanguageModelConfig> {
    let vocabulary = keys.size("vocab_size", None)?;
    Ok(LanguageModelConfig {
        vocabulary,
        padded_vocabulary: vocabulary,
        width: keys.size("hidden_size", None)?,
        layers: keys.size("num_hidden_layers", None)?,
        mixer,
        mlp: 0,
        tied: keys.flag("tie_word_embeddings", tied)?,
        eps: keys.number("layer_norm_epsilon", 1e-5)?,
    })
}

fn hugging_face_1(object: &Map<String, Value>) -> Result<LanguageModelConfig> {
    let mut keys = Keys::new(object, "");
    let width = keys.size("hidden_size", None)?;
    let plain = Mamba1Config::new(width);
    let config = Mamba1Config {
        width,
        steps: plain.steps,
        states: keys.size("state_size", Some(plain.states))?,
        taps: keys.size("conv_kernel", Some(plain.taps))?,
        expand: keys.size("expand", Some(plain.expand))?,
        dt_rank: keys.size("time_step_rank", Some(plain.dt_rank))?,
        conv_bias: keys.flag("use_conv_bias", true)?,
        bias: keys.flag("use_bias", false)?,
    };
    hugging_face(&mut keys, MixerConfig::Mamba1(config), true)
}

fn hugging_face_2(object: &Map<String, Value>, options: ModelOptions) -> Result<LanguageModelConfig> {
    let mut keys = Keys::new(object, "");
    let width = keys.size("hidden_size", None)?;
    let plain = Mamba2Config::new(width);
    let expand = keys.size("expand", Some(plain.expand))?;
    let head_width = keys.size("head_dim", Some(plain.head_width))?;
    let groups = keys.size("n_groups", Some(8))?;
    divides("head_dim", head_width, "channels", expand * width)?;
    divides("n_groups", groups, "heads", expand * width / head_width)?;
    let config = Mamba2Config {
        width,
        steps: plain.steps,
        states: keys.size("state_size", Some(plain.states))?,
        taps: keys.size("conv_kernel", Some(plain.taps))?,
        expand,
        head_width,
        groups,
        scan_channels: expand * width,
        dt_range: keys.range("time_step_limit")?,
        norm_before_gate: false,
        whole_norm: options.whole_norm,
        eps: keys.number("layer_norm_epsilon", 1e-5)?,
        conv_bias: keys.flag("use_conv_bias", true)?,
        bias: keys.flag("use_bias", false)?,
    };
    hugging_face(&mut keys, MixerConfig::Mamba2(config), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<LanguageModelConfig> {
        LanguageModelConfig::from_json(text, ModelOptions::default())
    }

    #[test]
    fn published_configurations_give_the_published_sizes() {
        let c =
            of(r#"{"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {}, "pad_vocab_size_multiple": 8}"#).unwrap();
        assert_eq!((c.padded_vocabulary, c.tied, c.mlp), (50280, true, 0));
        let MixerConfig::Mamba1(m) = c.mixer else { panic!("{c:?}") };
        assert_eq!((m.channels(), m.dt_rank, m.states), (1536, 48, 16));
        let text = r#"{"model_type": "mamba2", "hidden_size": 768, "num_hidden_layers": 24, "vocab_size": 50288, "n_groups": 1,
            "state_size": 128, "time_step_limit": [0.0, Infinity], "name": "Infinity", "tie_word_embeddings": true}"#;
        let c = of(text).unwrap();
        let MixerConfig::Mamba2(m) = c.mixer else { panic!("{c:?}") };
        assert_eq!((m.heads(), m.dt_range), (24, [0.0, f64::INFINITY]));
        assert!(c.tied && c.padded_vocabulary == 50288);
    }

    #[test]
    fn what_is_not_built_is_refused_by_key() {
        let base = r#""d_model": 16, "n_layer": 2, "vocab_size": 45"#;
        for (more, key) in [
            (r#""attn_layer_idx": [1]"#, "attn_layer_idx"),
            (r#""rms_norm": false"#, "rms_norm"),
            (r#""ssm_cfg": {"layer": "Mamba9"}"#, "ssm_cfg.layer"),
            (r#""ssm_cfg": {"d_stat": 16}"#, "ssm_cfg.d_stat"),
            (r#""ssm_cfg": {"layer": "Mamba2", "headdim": 5}"#, "ssm_cfg.headdim"),
            (r#""ssm_cfg": {"layer": "Mamba3", "headdim": 8, "rope_fraction": 0.3}"#, "ssm_cfg.rope_fraction"),
            (r#""model_type": "llama""#, "model_type"),
        ] {
            let e = of(&format!("{{{base}, {more}}}")).unwrap_err().to_string();
            assert!(e.starts_with(key), "{more}: {e}");
        }
        assert!(of(r#"{"d_model": 0, "n_layer": 2}"#).unwrap_err().to_string().contains("d_model"));
        assert!(of("[]").is_err());
    }
}
