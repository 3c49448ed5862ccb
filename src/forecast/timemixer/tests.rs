//! Goldens of the published program, in f64 and f32, and the traces of twenty training steps.

use super::*;
use crate::forecast::neural::Block;
use crate::forecast::neural::learner::{Loss, WindowLearner};
use crate::forecast::neural::windows::WindowSet;
use crate::forecast::time_features::{Sampling, time_features};
use crate::nn::optimizer::OptimizerConfig;
use crate::nn::schedule::Schedule;
use crate::nn::train::{Checkpoints, TrainConfig, train};
use crate::run::observer::Silent;
use serde_json::Value as Json;
use std::sync::Arc;

/// A shared file, or `None` with the reason on stderr.
fn shared(path: &str) -> Option<String> {
    let full = format!("{}/../shared/data/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&full);
    if text.is_err() {
        eprintln!("skipped: {path} is not here (its licence or size keeps it out of the project)");
    }
    text.ok()
}

fn golden(name: &str) -> Option<Json> {
    shared(&format!("forecast-goldens/{name}.json")).map(|text| serde_json::from_str(&text).unwrap())
}

fn floats(v: &Json) -> Vec<f64> {
    match v {
        Json::Array(a) => a.iter().flat_map(floats).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

/// (b, t, n) of a golden file to (b, n, t) of a network.
fn time_last(v: &Json, dtype: DType) -> Tensor {
    let dims = [v.as_array().unwrap().len(), v[0].as_array().unwrap().len(), v[0][0].as_array().unwrap().len()];
    let t = Tensor::from_vec(floats(v), &dims[..], &Device::Cpu).unwrap();
    t.permute((0, 2, 1)).unwrap().contiguous().unwrap().to_dtype(dtype).unwrap()
}

/// Element k of parameter i: A sin(1.7 k + 0.3 i + 0.5); gains add 1.
fn fill(params: &mut Params) {
    let ids: Vec<_> = params.iter().map(|(id, p)| (id, p.name.clone(), p.tensor.dims().to_vec())).collect();
    for (i, (id, name, dims)) in ids.into_iter().enumerate() {
        let gain = if name.starts_with("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
        let count: usize = dims.iter().product();
        let values: Vec<f64> = (0..count).map(|k| 0.5 * (1.7 * k as f64 + 0.3 * i as f64 + 0.5).sin() + gain).collect();
        params.set(id, &Tensor::from_vec(values, dims, &Device::Cpu).unwrap()).unwrap();
    }
}

fn small(features: usize) -> TimeMixerConfig {
    TimeMixerConfig {
        features,
        d_model: 4,
        d_ff: 8,
        scales: 2,
        decomposition: Decomposition::MovingAverage { window: 5 },
        moving_average: 5,
        ..TimeMixerConfig::new(16, 8, 3)
    }
}

/// Runs a golden case and compares: 1e-9 in f64 (the goldens agree with a second program to 2e-15; what is left is the other order
/// of our sums), 2e-5 of the largest value in f32 (about 150 roundings of 6e-8 on sums of a few hundred terms).
fn compare(config: &TimeMixerConfig, x: &Json, marks: Option<&Json>, future: Option<&Json>, want: &Json, order: Option<&Json>) {
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 2e-5)] {
        let mut net = TimeMixer::new(config.clone(), dtype, &Streams::new(0)).unwrap();
        if let Some(order) = order {
            let names: Vec<&str> = order.as_array().unwrap().iter().map(|e| e[1].as_str().unwrap()).collect();
            assert_eq!(net.params().iter().map(|(_, p)| p.name.as_str()).collect::<Vec<_>>(), names);
        }
        fill(net.params_mut());
        let batch = Batch {
            x: time_last(x, dtype),
            marks: marks.map(|m| time_last(m, dtype)),
            future_marks: future.map(|m| time_last(m, dtype)),
        };
        let want = floats(&serde_json::to_value(time_last(want, DType::F64).to_vec3::<f64>().unwrap()).unwrap());
        let scale = want.iter().fold(1.0f64, |a, v| a.max(v.abs()));
        for pass in [Pass::inference(net.params()), Pass::gradients(net.params())] {
            let y = net.forward(&pass, &batch).unwrap();
            let got = y.tensor().flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
            assert_eq!(got.len(), want.len());
            for (g, w) in got.iter().zip(&want) {
                assert!((g - w).abs() <= tolerance * scale, "{dtype:?}: {g} instead of {w}");
            }
        }
    }
}

#[test]
fn the_published_forward_pass() {
    let Some(g) = golden("timemixer_golden") else { return };
    // With marks absent the network still has embed.time.weight in the file's order, so features are declared and not given.
    let with = small(4);
    compare(&with, &g["x"], None, None, &g["y"]["no_marks"], Some(&g["param_order"]));
    compare(&with, &g["x"], Some(&g["mark"]), None, &g["y"]["marks_aligned"], None);
    let reference = TimeMixerConfig { mark_order: MarkOrder::Reference, ..small(4) };
    compare(&reference, &g["x"], Some(&g["mark"]), None, &g["y"]["marks_reference_order"], None);
}

#[test]
fn the_published_switches() {
    let (Some(g), Some(extra)) = (golden("timemixer_golden"), golden("timemixer_extra_golden")) else { return };
    let mut seen = 0;
    for (name, case) in extra["cases"].as_object().unwrap() {
        let mut config = small(4);
        let flag = |key: &str| case["override"][key].as_i64();
        config.channel_independent = flag("channel_independence") != Some(0);
        config.normalize = flag("use_norm") != Some(0);
        config.future_features = flag("use_future_temporal_feature") == Some(1);
        if case["override"]["down_sampling_method"] == "max" {
            config.pooling = Pooling::Max;
        }
        if case["override"]["decomp_method"] == "dft_decomp" {
            config.decomposition = Decomposition::DftReference;
        }
        let future = case["future_mark"].as_array().map(|_| &case["future_mark"]);
        let future = future.or_else(|| config.future_features.then(|| &extra["cases"]["future_marks_aligned"]["future_mark"]));
        if name.contains("reference_order") {
            config.mark_order = MarkOrder::Reference;
        }
        let marks = (!name.ends_with("no_marks")).then_some(&g["mark"]);
        let order = case["param_order"].as_array().map(|_| &case["param_order"]);
        compare(&config, &g["x"], marks, future, &case["y"], order);
        seen += 1;
    }
    assert_eq!(seen, 7);
}

#[test]
fn the_paper_counts_its_parameters() {
    // 75,497 with the 64 of two layer norms that are never applied.
    let config = TimeMixerConfig { features: 4, ..TimeMixerConfig::new(96, 96, 7) };
    let net = TimeMixer::new(config, DType::F32, &Streams::new(0)).unwrap();
    assert_eq!(net.params().trainable_count(), 75_497 - 64);
}

/// ETTh1 standardised by its first 8640 rows, with hourly features.
fn etth1() -> Option<Block> {
    let text = shared("ett-small/ETTh1.csv")?;
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); 7];
    let mut marks = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let stamp = chrono::NaiveDateTime::parse_from_str(cells[0], "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp_micros();
        marks.push(time_features(stamp, Sampling::Hour).unwrap());
        columns.iter_mut().zip(&cells[1..]).for_each(|(column, cell)| column.push(cell.trim().parse().unwrap()));
    }
    for column in &mut columns {
        let (mean, deviation) = crate::forecast::engine::standard_scale(&column[..8640]);
        column.iter_mut().for_each(|v| *v = (*v - mean) / deviation);
    }
    Some(Block::new(&columns).with_marks(&marks))
}

#[test]
fn twenty_published_training_steps() {
    let (Some(g), Some(block)) = (golden("timemixer_train_golden"), etth1()) else { return };
    let blocks = Arc::new(vec![block]);
    for (name, case) in g["cases"].as_object().unwrap() {
        let config = TimeMixerConfig {
            features: 4,
            dropout: 0.0,
            mark_order: if name == "marks_reference_order" { MarkOrder::Reference } else { MarkOrder::Aligned },
            ..TimeMixerConfig::new(96, 96, 7)
        };
        let blocks = if name == "no_marks_full_cycle" {
            let bare: Vec<Vec<f64>> = (0..7).map(|c| blocks[0].channel(c).to_vec()).collect();
            Arc::new(vec![Block::new(&bare)])
        } else {
            blocks.clone()
        };
        let mut net = TimeMixer::new(config, DType::F64, &Streams::new(0)).unwrap();
        fill(net.params_mut());
        let windows = WindowSet::new(blocks.clone(), std::slice::from_ref(&(0..8640)), 96, 96, 1);
        let gradient_pass = Pass::gradients(net.params());
        let (batch, target) = windows.batch(&(0..32).collect::<Vec<_>>(), DType::F64).unwrap();
        let loss = Loss::Mse.of(&net.forward(&gradient_pass, &batch).unwrap(), &target).unwrap();
        let gradients = gradient_pass.backward(&loss).unwrap();
        for ((_, p), gradient) in net.params().iter().zip(&gradients) {
            let want = &case["grad_before_step_0"][&p.name];
            let Some(gradient) = gradient else {
                assert!(want.is_null(), "{name}: {} has no gradient", p.name);
                continue;
            };
            let values = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let l2 = values.iter().map(|v| v * v).sum::<f64>().sqrt();
            let (sum, norm) = (want[0].as_f64().unwrap(), want[1].as_f64().unwrap());
            // Sums of n terms in another order: relative to the norm times the root of the count.
            let tolerance = 1e-9 * (1.0 + norm) * (values.len() as f64).sqrt();
            assert!((values.iter().sum::<f64>() - sum).abs() < tolerance, "{name}: gradient of {}", p.name);
            assert!((l2 - norm).abs() < 1e-9 * (1.0 + norm), "{name}: gradient of {}", p.name);
        }
        // One epoch of the steps asked for: windows in file order, 32 a batch.
        let total = case["total_steps"].as_u64().unwrap() as usize;
        let train_windows = WindowSet::new(blocks.clone(), std::slice::from_ref(&(0..8640)), 96, 96, 1).truncated(20 * 32);
        let mut learner = WindowLearner::new(Box::new(net), train_windows, None, Loss::Mse);
        let schedule = Schedule::one_cycle_over(case["max_lr"].as_f64().unwrap(), 0.2, total as u64);
        let config = TrainConfig {
            epochs: 1,
            batch_size: 32,
            drop_last: false,
            shuffle: false,
            optimizer: OptimizerConfig::adam(),
            schedule,
            clip_norm: None,
            patience: None,
            seed: 0,
        };
        let report = train(&mut learner, &config, &Checkpoints::default(), None, &Silent).unwrap();
        for (k, (got, want)) in report.first_losses.iter().zip(floats(&case["loss"])).enumerate() {
            assert!((got - want).abs() <= 1e-6 * want, "{name}: loss of step {k} is {got} instead of {want}");
        }
        assert_eq!(report.first_losses.len(), 20);
        for (parameter, want) in case["params_full_after_20"].as_object().unwrap() {
            let id = learner.network().params().find(parameter).unwrap();
            let got = learner.network().params().get(id).tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (g, w) in got.iter().zip(floats(want)) {
                assert!((g - w).abs() < 1e-6, "{name}: {parameter} is {g} instead of {w}");
            }
        }
        let l2: f64 = (learner.network().params().iter())
            .map(|(_, p)| p.tensor.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap())
            .sum::<f64>()
            .sqrt();
        let want = case["param_l2_after_20"].as_f64().unwrap();
        assert!((l2 - want).abs() < 1e-6 * want, "{name}: norm {l2} instead of {want}");
        let (batch, target) = windows.batch(&(640..672).collect::<Vec<_>>(), DType::F64).unwrap();
        let net = learner.network();
        let y = net.forward(&Pass::inference(net.params()), &batch).unwrap();
        let loss = Loss::Mse.of(&y, &target).unwrap().tensor().to_scalar::<f64>().unwrap();
        let want = case["next_batch"]["loss"].as_f64().unwrap();
        assert!((loss - want).abs() < 1e-6 * want, "{name}: next loss {loss} instead of {want}");
    }
}

#[test]
fn bad_settings_are_explained() {
    let check = |change: fn(&mut TimeMixerConfig)| {
        let mut c = TimeMixerConfig::new(96, 96, 7);
        change(&mut c);
        c.check().unwrap_err()
    };
    assert!(check(|c| c.scales = 7).contains("too short"));
    assert!(check(|c| c.decomposition = Decomposition::MovingAverage { window: 24 }).contains("odd"));
    assert!(check(|c| c.decomposition = Decomposition::Dft { top_k: 0 }).contains("top_k"));
    assert!(check(|c| c.window = 1).contains("window"));
    assert!(check(|c| c.dropout = 1.0).contains("dropout"));
    assert!(check(|c| c.d_model = 0).contains("d_model"));
    assert!(check(|c| c.future_features = true).contains("future"));
}

#[test]
fn every_form_gives_finite_gradients_to_every_parameter() {
    let forms: [fn(&mut TimeMixerConfig); 6] = [
        |c| c.pooling = Pooling::Conv,
        |c| c.outputs = 3,
        |c| c.decomposition = Decomposition::Dft { top_k: 2 },
        |c| {
            c.channel_independent = false;
            c.outputs = 2;
        },
        |c| c.scales = 0,
        |c| (c.lookback, c.horizon) = (26, 5),
    ];
    for (i, form) in forms.into_iter().enumerate() {
        let mut config = small(3);
        form(&mut config);
        let net = TimeMixer::new(config.clone(), DType::F64, &Streams::new(1)).unwrap();
        let wave = |k: usize| (0.7 * k as f64).sin();
        let tensor =
            |n: usize, t: usize| Tensor::from_vec((0..2 * n * t).map(wave).collect::<Vec<_>>(), (2, n, t), &Device::Cpu).unwrap();
        let batch = Batch { x: tensor(3, config.lookback), marks: Some(tensor(3, config.lookback)), future_marks: None };
        let streams = Streams::new(3);
        let pass = Pass::training(net.params(), &streams, 0);
        let y = net.forward(&pass, &batch).unwrap();
        let want = if config.outputs == 1 { vec![2, 3, config.horizon] } else { vec![2, 3, config.horizon, config.outputs] };
        assert_eq!(y.dims(), want, "form {i}");
        let loss = ops::sum_all(&ops::mul(&y, &y).unwrap()).unwrap();
        for ((_, p), gradient) in net.params().iter().zip(pass.backward(&loss).unwrap()) {
            let gradient = gradient.unwrap_or_else(|| panic!("form {i}: {} has no gradient", p.name));
            assert_eq!(gradient.dims(), p.tensor.dims(), "form {i}: {}", p.name);
            assert!(gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap().iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn fused_blocks_give_what_single_operations_give() {
    for (order, outputs, marks, scales) in [
        (MarkOrder::Aligned, 1, true, 2),
        (MarkOrder::Reference, 2, true, 2),
        (MarkOrder::Aligned, 1, false, 0),
        (MarkOrder::Aligned, 3, true, 3),
    ] {
        let config = TimeMixerConfig { mark_order: order, outputs, scales, ..small(3) };
        let wave = |k: usize| (0.7 * k as f64).sin();
        let tensor =
            |n: usize, t: usize| Tensor::from_vec((0..5 * n * t).map(wave).collect::<Vec<_>>(), (5, n, t), &Device::Cpu).unwrap();
        let batch = Batch { x: tensor(3, 16), marks: marks.then(|| tensor(3, 16)), future_marks: None };
        let run = |fused: bool| {
            let mut net = TimeMixer::new(config.clone(), DType::F64, &Streams::new(1)).unwrap();
            assert!(net.fused);
            net.fused = fused;
            let pass = Pass::gradients(net.params());
            let y = net.forward(&pass, &batch).unwrap();
            let loss = ops::sum_all(&ops::mul(&y, &y).unwrap()).unwrap();
            let mut all = vec![Some(y.tensor().clone())];
            all.extend(pass.backward(&loss).unwrap());
            all
        };
        for (i, (a, b)) in run(true).iter().zip(&run(false)).enumerate() {
            assert_eq!(a.is_some(), b.is_some(), "result {i}");
            let (Some(a), Some(b)) = (a, b) else { continue };
            assert_eq!(a.dims(), b.dims());
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let size = values(b).iter().fold(1.0f64, |m, v| m.max(v.abs()));
            // The same terms in another order: some thousands of roundings at most.
            assert!(values(a).iter().zip(values(b)).all(|(a, b)| (a - b).abs() <= 1e-12 * size), "result {i}, {outputs} outputs");
        }
    }
}
