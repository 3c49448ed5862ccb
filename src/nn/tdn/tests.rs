//! Operations, derivatives of first and second order, symmetries, training.

use super::equivariance::equivariance;
use super::geometry::{Geometry, tensor_of, values_of};
use super::graph::{Index, Prepared};
use super::ops::{self, Func, Parts, Products};
use super::*;
use crate::kernels::coupled::{Channels, Mode};
use crate::kernels::testing::{differences, in_pool, numbers};
use crate::nn::tape::Tape;
use crate::nn::{Pass, Value};
use crate::run::observer::Silent;
use crate::tensor::cg::{CgTensor, RankSchedule};
use candle_core::{DType, Tensor};
use std::sync::Arc;

fn tensor(v: &[f64], dims: &[usize]) -> Tensor {
    tensor_of(v, dims, DType::F64).unwrap()
}

/// Gradients of Σ seed · f(inputs) against central differences; each input is smooth around where it stands.
fn check(what: &str, shapes: &[&[usize]], f: impl Fn(&[Value]) -> Value) {
    let data: Vec<Vec<f64>> = shapes.iter().enumerate().map(|(i, s)| numbers(i as u64 + 5, s.iter().product())).collect();
    let run = |data: &[Vec<f64>]| {
        let tape = Tape::new();
        let leaves: Vec<Value> = data.iter().zip(shapes).map(|(d, s)| tape.leaf(&tensor(d, s))).collect();
        let y = f(&leaves);
        let seed = numbers(77, y.tensor().elem_count());
        let loss: f64 = values_of(y.tensor()).unwrap().iter().zip(&seed).map(|(a, b)| a * b).sum();
        let gradients = tape.backward_from(&y, tensor(&seed, y.dims())).unwrap();
        let of = |v: &Value| gradients.of(v).map_or(vec![0.0; v.tensor().elem_count()], |g| values_of(g).unwrap());
        (loss, leaves.iter().map(of).collect::<Vec<_>>())
    };
    let (_, gradients) = run(&data);
    for (i, gradient) in gradients.iter().enumerate() {
        // Truncation 1e-10/6 times third derivatives below 10, rounding 1e-15/1e-5.
        differences(&data[i], gradient, 1, 2e-9, &format!("{what}, input {i}"), |x| {
            let mut data = data.clone();
            data[i] = x.to_vec();
            run(&data).0
        });
    }
}

const FUNCS: [Func; 9] = [
    Func::Sigmoid,
    Func::Silu,
    Func::Exp,
    Func::Recip,
    Func::Rsqrt { eps: 2.0 },
    Func::SmoothLeaky { slope: 0.2 },
    Func::Gauss,
    Func::RecipAbs { eps: 0.5 },
    Func::Fade { rate: 0.9 },
];

#[test]
fn functions_have_the_derivatives_they_say() {
    for f in FUNCS {
        for order in 0..2 {
            // Away from 0, where two of them have a corner or a pole.
            check(&format!("{f:?} {order}"), &[&[7]], |x| {
                let away = crate::nn::ops::add(&x[0], &Value::from(tensor(&[3.0; 7], &[7]))).unwrap();
                ops::function(&away, f, order).unwrap()
            });
        }
    }
    // The vector form of every order is the definition, derivative 2 by way of the gradient; some roundings of numbers below 10.
    let at: Vec<f64> = (0..40).map(|i| i as f64 / 5.0 - 3.9).collect();
    for f in FUNCS {
        let at: Vec<f64> =
            if matches!(f, Func::Rsqrt { .. } | Func::Recip) { at.iter().map(|x| x.abs() + 0.1).collect() } else { at.clone() };
        for order in 0..3 {
            let tape = Tape::new();
            let x = tape.leaf(&tensor(&at, &[40]));
            let found = match order {
                2 => {
                    let y = ops::function(&x, f, 1).unwrap();
                    values_of(tape.backward(&y).unwrap().of(&x).unwrap()).unwrap()
                }
                order => values_of(ops::function(&x, f, order).unwrap().tensor()).unwrap(),
            };
            for (x, y) in at.iter().zip(found) {
                let expected = f.at(*x)[order];
                assert!(
                    (y - expected).abs() <= 2e-15 * (1.0 + expected.abs()) * 10.0,
                    "{f:?} {order} at {x}: {y}, not {expected}"
                );
            }
        }
    }
    let y = ops::function(&Value::from(tensor(&[-1.0, 4.0, 0.0], &[3])), Func::Fade { rate: 1.0 }, 0).unwrap();
    assert_eq!(values_of(y.tensor()).unwrap()[1..], [0.0, 1.0]);
}

#[test]
fn operations_have_the_gradients_of_their_definition() {
    let index = Arc::new(Index::new(vec![2, 0, 2, 1, 2], 4));
    check("gather", &[&[4, 3]], |x| ops::gather(&x[0], &index).unwrap());
    check("scatter", &[&[5, 2, 2]], |x| ops::scatter(&x[0], &index).unwrap());
    for parts in [Parts::equal(3, 4), Parts::heads(3, 2, 2), Parts::equal(1, 12)] {
        let n = parts.sizes().len();
        check("dots", &[&[5, 12], &[5, 12]], |x| ops::dots(&x[0], &x[1], &parts).unwrap());
        check("scale_parts", &[&[5, 12], &[5, n]], |x| ops::scale_parts(&x[0], &x[1], &parts).unwrap());
        check("sums", &[&[5, 3, 4]], |x| ops::sums(&x[0], &parts).unwrap());
    }
    assert_eq!(Parts::degrees(2, 3).sizes(), [3, 9, 15]);
    check("scale_columns", &[&[5, 4, 3], &[4, 3]], |x| ops::scale_columns(&x[0], &x[1]).unwrap());
    check("add_columns", &[&[5, 4, 3], &[3]], |x| ops::add_columns(&x[0], &x[1]).unwrap());
    check("centre", &[&[5, 4, 3]], |x| ops::centre(&x[0], 3, 12).unwrap());
    check("heads_of_rows", &[&[5, 4, 3]], |x| ops::heads_of_rows(&x[0], 3, 12).unwrap());
    check("into_rows", &[&[5, 3]], |x| ops::into_rows(&x[0], 4).unwrap());
    check("gate", &[&[3, 4, 6], &[3, 6]], |x| ops::gate(&x[0], &x[1]).unwrap());
    let m = CgTensor::new(1).unwrap();
    let products = Arc::new(Products { single: m.per_edge_product(), double: m.per_edge_product() });
    let channels = Channels::new(Mode::Uvu, 3, 1, 0).unwrap();
    check("product", &[&[2, 4, 3], &[2, 4, 1], &[2, 3]], |x| ops::product(&x[0], &x[1], &x[2], &channels, &products).unwrap());
    let y = ops::scatter(&Value::from(tensor(&[1.0, 2.0, 4.0, 8.0, 16.0], &[5, 1])), &index).unwrap();
    assert_eq!(values_of(y.tensor()).unwrap(), [2.0, 8.0, 21.0, 0.0]);
    let x = Value::from(tensor(&[0.0; 6], &[2, 3]));
    assert!(ops::gather(&x, &index).err().unwrap().to_string().contains("[2, 3]"));
    assert!(ops::scale_columns(&x, &Value::from(tensor(&[0.0; 4], &[4]))).is_err());
}

fn small(forces: Forces, product: ProductKind) -> TdnConfig {
    TdnConfig {
        channels: 4,
        radial_basis: 5,
        radial_hidden: 6,
        layers: 2,
        forces,
        product,
        mean_neighbours: 5.0,
        mean_atoms: 6.0,
        ..TdnConfig::small(2)
    }
}

fn kinds() -> Vec<String> {
    potential::SYMBOLS.map(String::from).to_vec()
}

fn network(config: TdnConfig, dtype: DType) -> Tdn {
    Tdn::new(config, kinds(), dtype, 3, &Silent).unwrap()
}

fn data(count: usize, atoms: usize) -> Vec<Structure> {
    potential::clusters(count, atoms, 0.1, 11).unwrap()
}

#[test]
fn forces_are_minus_the_gradient_of_the_energy() {
    for product in [ProductKind::Exact, ProductKind::Cp { rank: RankSchedule::Fixed(4) }] {
        for lmax in [1, 2] {
            let net = network(TdnConfig { lmax, ..small(Forces::Conservative, product) }, DType::F64);
            let s = data(1, 6).remove(0);
            let found = net.predict(std::slice::from_ref(&s), false).unwrap().remove(0);
            let flat: Vec<f64> = s.positions.iter().flatten().copied().collect();
            let gradient: Vec<f64> = found.forces.iter().flatten().map(|f| -f).collect();
            // Truncation 1e-10/6 times third derivatives of some tens; rounding 1e-15/1e-5.
            differences(&flat, &gradient, 1, 1e-7, "forces", |x| {
                let positions = x.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
                net.predict(&[Structure { positions, ..s.clone() }], false).unwrap()[0].energy
            });
        }
    }
}

#[test]
fn tangents_are_derivatives_along_their_direction() {
    let net = network(small(Forces::Conservative, ProductKind::Exact), DType::F64);
    let all: Vec<Prepared> = data(2, 5).iter().map(|s| net.prepare(s).unwrap()).collect();
    let batch = Batch::new(&all.iter().collect::<Vec<_>>(), 2);
    let along: Vec<[f64; 3]> = numbers(4, 30).chunks_exact(3).map(|v| [v[0], v[1], v[2]]).collect();
    let masks = vec![None; 3];
    let pass = Pass::inference(net.params());
    let energies = |by: f64| {
        let mut moved = batch.clone();
        moved.positions.iter_mut().zip(&along).for_each(|(p, a)| (0..3).for_each(|k| p[k] += by * a[k]));
        values_of(
            net.forward(&pass, &moved, &Geometry::fixed(&moved, 1, DType::F64, None).unwrap(), &masks)
                .unwrap()
                .energy
                .value
                .tensor(),
        )
        .unwrap()
    };
    let out = net.forward(&pass, &batch, &Geometry::fixed(&batch, 1, DType::F64, Some(&along)).unwrap(), &masks).unwrap();
    let tangent = values_of(out.energy.tangent.unwrap().tensor()).unwrap();
    let (up, down) = (energies(1e-5), energies(-1e-5));
    for g in 0..2 {
        let numeric = (up[g] - down[g]) / 2e-5;
        assert!((numeric - tangent[g]).abs() < 1e-7 * (1.0 + numeric.abs()), "{numeric} {}", tangent[g]);
    }
    // And it is minus the forces along the direction.
    let (_, forces) = net.energy_and_gradient(&batch, &masks).unwrap();
    let work: f64 = forces.iter().zip(along.iter().flatten()).map(|(f, a)| -f * a).sum();
    assert!((work - tangent.iter().sum::<f64>()).abs() < 1e-12 * (1.0 + work.abs()) * 10.0);
}

#[test]
fn gradients_of_the_loss_are_central_differences_for_both_kinds_of_forces() {
    for forces in [Forces::Conservative, Forces::Direct] {
        let config = TdnConfig { layers: 1, ..small(forces, ProductKind::Cp { rank: RankSchedule::Fixed(4) }) };
        let mut net = network(config, DType::F64);
        let structures = data(2, 5);
        let settings = FitConfig { energy_weight: 0.7, force_weight: 1.3, ..FitConfig::default() };
        let value = |net: &Tdn, pass: &Pass| train::loss_of_structures(net, pass, &structures, &settings).unwrap();
        let gradients = {
            let pass = Pass::gradients(net.params());
            let loss = value(&net, &pass);
            pass.backward(&loss).unwrap()
        };
        let ids: Vec<_> = net.params().iter().filter(|(_, p)| p.trainable).map(|(id, _)| id).collect();
        for id in ids {
            let (name, before) = (net.params().get(id).name.clone(), net.params().get(id).tensor.copy().unwrap());
            let start = values_of(&before).unwrap();
            let gradient = gradients[id.index()].as_ref().map_or(vec![0.0; start.len()], |g| values_of(g).unwrap());
            for k in (0..start.len()).step_by((start.len() / 3).max(1)) {
                let mut at = |by: f64| {
                    let mut changed = start.clone();
                    changed[k] += by;
                    net.params_mut().set(id, &tensor(&changed, before.dims())).unwrap();
                    let loss = value(&net, &Pass::inference(net.params()));
                    values_of(loss.tensor()).unwrap()[0]
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                // Truncation 1e-10/6 times third derivatives of some hundreds, rounding 1e-15/1e-5.
                assert!(
                    (numeric - gradient[k]).abs() < 2e-7 * (1.0 + numeric.abs()),
                    "{forces:?} {name}[{k}]: {} not {numeric}",
                    gradient[k]
                );
            }
            net.params_mut().set(id, &before).unwrap();
        }
    }
}

fn moved(s: &Structure, f: impl Fn([f64; 3]) -> [f64; 3]) -> Structure {
    Structure { positions: s.positions.iter().map(|p| f(*p)).collect(), ..s.clone() }
}

#[test]
fn energies_do_not_see_translations_or_the_order_of_atoms() {
    let net = network(small(Forces::Direct, ProductKind::Cp { rank: RankSchedule::Fixed(3) }), DType::F64);
    let s = data(1, 7).remove(0);
    let order = [3, 0, 6, 2, 5, 1, 4];
    let turned = Structure {
        symbols: order.iter().map(|i| s.symbols[*i].clone()).collect(),
        positions: order.iter().map(|i| s.positions[*i]).collect(),
        energy: None,
        forces: None,
    };
    let all = [s.clone(), moved(&s, |p| [p[0] + 3.0, p[1] - 1.0, p[2] + 0.5]), turned];
    for direct in [false, true] {
        let found = net.predict(&all, direct).unwrap();
        let size = found[0].energy.abs().max(1.0);
        assert!(
            (found[1].energy - found[0].energy).abs() < 1e-12 * size && (found[2].energy - found[0].energy).abs() < 1e-12 * size
        );
        for (i, o) in order.iter().enumerate() {
            for k in 0..3 {
                assert!((found[1].forces[i][k] - found[0].forces[i][k]).abs() < 1e-11);
                assert!((found[2].forces[i][k] - found[0].forces[*o][k]).abs() < 1e-11);
            }
        }
        // A structure of a batch is as it is alone.
        let alone = net.predict(&all[2..], direct).unwrap();
        assert!((alone[0].energy - found[2].energy).abs() < 1e-13 * size);
    }
}

#[test]
fn the_network_is_as_equivariant_as_its_product() {
    let structures = data(2, 6);
    let lost = |product: ProductKind, dtype: DType, direct: bool| {
        let forces = if direct { Forces::Direct } else { Forces::Conservative };
        equivariance(&network(small(forces, product), dtype), &structures, 3, direct, 0).unwrap()
    };
    let cp = |rank: usize| ProductKind::Cp { rank: RankSchedule::Fixed(rank) };
    for direct in [false, true] {
        // Some thousand roundings of 1e-16 in f64; R = 8 is exact to 1e-13 of the product's size.
        for product in [ProductKind::Exact, cp(8)] {
            let found = lost(product, DType::F64, direct);
            assert!(found.energy < 1e-11 && found.forces < 1e-10, "{product:?} {found:?}");
        }
        // The same in f32: 6e-8.
        let (exact, eight) = (lost(ProductKind::Exact, DType::F32, direct), lost(cp(8), DType::F32, direct));
        let (seven, four) = (lost(cp(7), DType::F32, direct), lost(cp(4), DType::F32, direct));
        assert!(exact.forces < 1e-4 && eight.forces < 1e-4);
        assert!(seven.forces > 10.0 * eight.forces && four.forces > 3.0 * seven.forces, "{eight:?} {seven:?} {four:?}");
    }
}

#[test]
fn energies_are_smooth_where_a_neighbour_leaves() {
    let net = network(small(Forces::Conservative, ProductKind::Exact), DType::F64);
    let at = |r: f64| {
        let s = Structure {
            symbols: vec!["A".into(), "B".into(), "A".into()],
            positions: vec![[0.0; 3], [0.0, 2.0, 0.0], [r, 0.3, 0.0]],
            ..Structure::default()
        };
        net.predict(&[s], false).unwrap().remove(0)
    };
    // The third atom is 4.5 from the first at x = √(4.5² − 0.3²), and from the second a little later.
    let edge = (4.5f64 * 4.5 - 0.09).sqrt();
    let (inside, outside) = (at(edge - 1e-7), at(edge + 1e-7));
    // The floor of the attention weights is 1e-6.
    assert!((inside.energy - outside.energy).abs() < 1e-5, "{} {}", inside.energy, outside.energy);
    let rough = network(TdnConfig { smooth_cutoff: false, ..small(Forces::Conservative, ProductKind::Exact) }, DType::F64);
    let jump = |r: f64| {
        let s =
            Structure { symbols: vec!["A".into(), "B".into()], positions: vec![[0.0; 3], [r, 0.0, 0.0]], ..Structure::default() };
        rough.predict(&[s], false).unwrap()[0].energy
    };
    assert!((jump(4.5 - 1e-7) - jump(4.5 + 1e-7)).abs() > 1e-4);
}

#[test]
fn lonely_atoms_are_fine_and_bad_structures_are_named() {
    for (forces, direct) in [(Forces::Conservative, false), (Forces::Direct, true)] {
        let net = network(small(forces, ProductKind::Exact), DType::F32);
        let one = |p: Vec<[f64; 3]>| Structure { symbols: vec!["A".to_string(); p.len()], positions: p, ..Structure::default() };
        let all = [one(vec![[0.0; 3]]), one(vec![[0.0; 3], [50.0, 0.0, 0.0]]), data(1, 4).remove(0)];
        let found = net.predict(&all, direct).unwrap();
        assert!(found.iter().all(|p| p.energy.is_finite() && p.forces.iter().flatten().all(|f| f.is_finite())));
        if !direct {
            assert_eq!(found[1].forces, [[0.0; 3]; 2]);
            assert_eq!(net.predict(&all[..1], direct).unwrap()[0].forces, [[0.0; 3]]);
            assert!(net.predict(&all[..1], true).is_err());
        }
        let error = |s: Structure| net.predict(&[s], direct).unwrap_err().to_string();
        assert!(error(one(vec![[0.0; 3], [0.0; 3]])).contains("atoms 1 and 2"));
        assert!(error(one(vec![[0.0, f64::NAN, 0.0]])).contains("coordinate y of atom 1"));
        let odd = Structure { symbols: vec!["Xx".into()], positions: vec![[0.0; 3]], ..Structure::default() };
        assert!(error(odd).contains("\"Xx\"") && net.kinds() == kinds());
    }
}

#[test]
fn the_nearest_neighbours_are_kept() {
    let line: Vec<[f64; 3]> = (0..5).map(|i| [i as f64, 0.0, 0.0]).collect();
    let pairs = graph::Neighbours::new(&line, 2.5, 2).unwrap().pairs;
    assert_eq!(pairs, [(1, 0), (2, 0), (0, 1), (2, 1), (1, 2), (3, 2), (2, 3), (4, 3), (3, 4), (2, 4)]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let base = TdnConfig::small(2);
    let error = |c: TdnConfig| c.check().unwrap_err().to_string();
    assert!(TdnConfig::default().check().is_ok() && base.check().is_ok());
    assert!(error(TdnConfig { lmax: 0, ..base.clone() }).contains("L is 0"));
    assert!(error(TdnConfig { heads: 3, ..base.clone() }).contains("3 heads"));
    assert!(error(TdnConfig { cutoff: f64::NAN, ..base.clone() }).contains("NaN"));
    assert!(error(TdnConfig { dropout: 1.0, ..base.clone() }).contains("dropout"));
    assert!(error(TdnConfig { product: ProductKind::Cp { rank: RankSchedule::Fixed(0) }, ..base.clone() }).contains("rank"));
    assert!(Tdn::new(base.clone(), vec!["A".into()], DType::F32, 0, &Silent).err().unwrap().to_string().contains("1 kinds"));
    let wrong = [0, 1, 2].map(|_| crate::tensor::model::Matrix::zeros(9, 3));
    assert!(Tdn::with_factors(base, kinds(), DType::F32, 0, Some(&wrong)).err().unwrap().to_string().contains("9 rows"));
}

#[test]
fn potentials_have_the_forces_of_their_energy() {
    let s = data(1, 8).remove(0);
    let kinds: Vec<usize> = s.symbols.iter().map(|k| usize::from(k == "B")).collect();
    let (energy, forces) = potential::morse(&kinds, &s.positions);
    assert_eq!((Some(energy), Some(&forces)), (s.energy, s.forces.as_ref()));
    let flat: Vec<f64> = s.positions.iter().flatten().copied().collect();
    let gradient: Vec<f64> = forces.iter().flatten().map(|f| -f).collect();
    // Third derivatives of 0.55 · 1.8³ · 8 and more: some hundreds; 1e-10/6 of that.
    differences(&flat, &gradient, 1, 1e-7, "Morse", |x| {
        potential::morse(&kinds, &x.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect::<Vec<_>>()).0
    });
    // A pair at rest has the depth of its well.
    assert!((potential::morse(&[0, 1], &[[0.0; 3], [2.3, 0.0, 0.0]]).0 + 0.55).abs() < 1e-15);
    assert_eq!(potential::morse(&[0, 0], &[[0.0; 3], [4.4, 0.0, 0.0]]).0, 0.0);
    assert_eq!(data(3, 5), data(3, 5));
    assert_eq!(data(3, 5)[..2], data(2, 5)[..]);
    assert!(potential::clusters(1, 0, 0.1, 0).is_err() && potential::clusters(1, 5, f64::NAN, 0).is_err());
}

/// A short training of a small network.
fn trained(config: TdnConfig, epochs: usize, count: usize, dtype: DType) -> (Tdn, Fit) {
    let structures = data(count, 6);
    let held = potential::clusters(20, 6, 0.1, 99).unwrap();
    let (neighbours, atoms) = train::statistics(&structures, config.cutoff, config.max_neighbours).unwrap();
    let mut net = network(TdnConfig { mean_neighbours: neighbours, mean_atoms: atoms, ..config }, dtype);
    let settings = FitConfig {
        epochs,
        batch_size: 8,
        schedule: crate::nn::schedule::Schedule::cosine(5e-3),
        force_weight: 5.0,
        ..FitConfig::default()
    };
    let found = fit(&mut net, &structures, &held, &settings, &Silent).unwrap();
    (net, found)
}

#[test]
fn threads_do_not_change_a_training() {
    for forces in [Forces::Conservative, Forces::Direct] {
        let config = TdnConfig { dropout: 0.1, ..small(forces, ProductKind::Cp { rank: RankSchedule::Fixed(8) }) };
        let run = |threads: usize| in_pool(threads, || trained(config.clone(), 2, 16, DType::F32).1);
        assert_eq!(run(1), run(2));
    }
}

#[test]
fn labels_are_checked_before_training() {
    let mut net = network(small(Forces::Conservative, ProductKind::Exact), DType::F32);
    let good = data(2, 4);
    let mut error = |change: &dyn Fn(&mut Structure)| {
        let mut all = good.clone();
        change(&mut all[1]);
        fit(&mut net, &all, &[], &FitConfig::default(), &Silent).unwrap_err().to_string()
    };
    assert!(error(&|s| s.energy = None).contains("structure 2 has no energy"));
    assert!(error(&|s| s.forces = None).contains("structure 2 has no forces"));
    assert!(error(&|s| s.forces = Some(vec![[0.0; 3]])).contains("1 forces for 4 atoms"));
    assert!(error(&|s| s.energy = Some(f64::NAN)).contains("NaN"));
    assert!(error(&|s| s.symbols[0] = "C".into()).contains("\"C\""));
    let mut still = data(1, 4);
    still[0].forces = Some(vec![[0.0; 3]; 4]);
    assert!(matches!(fit(&mut net, &still, &[], &FitConfig::default(), &Silent), Err(TdnError::NoForces)));
    assert!(matches!(fit(&mut net, &[], &[], &FitConfig::default(), &Silent), Err(TdnError::NoStructures { .. })));
    assert!(evaluate(&net, &[], false).is_err());
}

#[test]
fn training_brings_force_errors_below_a_tenth_of_zero() {
    let (net, found) = trained(TdnConfig { layers: 1, ..TdnConfig::small(2) }, 40, 140, DType::F32);
    let held = found.validation.unwrap();
    assert!(held.force_rmse * 10.0 < held.zero_rmse && found.train.force_rmse * 10.0 < found.train.zero_rmse, "{found:?}");
    // Trained weights are as equivariant as drawn ones at R = 8.
    let turned = equivariance(&net, &data(2, 6), 3, false, 1).unwrap();
    assert!(turned.forces < 1e-4, "{turned:?}");
    // Weights kept in a file give the same predictions.
    let mut other = network(net.config().clone(), DType::F32);
    let bytes = net.params().to_safetensors(None).unwrap();
    other.params_mut().restore(&crate::nn::params::tensors_of(&bytes).unwrap()).unwrap();
    assert_eq!(net.predict(&data(2, 6), false).unwrap(), other.predict(&data(2, 6), false).unwrap());
}
