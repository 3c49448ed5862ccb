//! Communities of graphs by their edges alone.
//!
//! * [`leiden`]: modularity or the constant Potts model, maximised by the Leiden algorithm.
//! * [`label_prop`]: label propagation.

pub mod label_prop;
pub mod leiden;
