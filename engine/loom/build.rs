//! Writes the copies of the tree that have a mistake.

fn main() {
    proofmark_engine_variants::write_trees(proofmark_engine_variants::Build::Loom);
}
