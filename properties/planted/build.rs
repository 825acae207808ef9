//! Writes the copies that have a mistake, and an adapter of the simulator's for each copy of the engine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proofmark_engine_variants::{Build, ENGINE_MISTAKES, write_engines, write_trees};

fn main() {
    write_trees(Build::Shuttle);
    write_engines();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo tells build scripts where to write"));
    std::fs::write(out.join("stores.rs"), stores()).expect("a build script may write there");
}

/// The one adapter, over each copy of the engine, and all of them in a row.
fn stores() -> String {
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sim/src/store/engine/adapter.rs");
    println!("cargo::rerun-if-changed={}", adapter.display());
    let mut text = String::new();
    let mut list = String::new();
    for (index, mistake) in ENGINE_MISTAKES.iter().enumerate() {
        let name = mistake.name;
        let module = format!(
            "mod {name} {{
    use crate::engines::{name} as engine;
    #[allow(clippy::duplicate_mod)]
    #[path = {adapter:?}]
    mod adapter;
    pub(super) use adapter::open;
}}"
        );
        let item = format!("PlantedEngine {{ mistake: &ENGINE_MISTAKES[{index}], open: {name}::open }}");
        writeln!(text, "{module}").expect("a string takes everything");
        writeln!(list, "    {item},").expect("a string takes everything");
    }
    write!(
        text,
        "/// A store for each mistake in the engine.\npub static ENGINES: &[PlantedEngine] = &[\n{list}];\n"
    )
    .expect("a string takes everything");
    text
}
