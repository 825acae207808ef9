//! One test for each rule of the fault model.
