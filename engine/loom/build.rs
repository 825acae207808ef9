//! Writes the copies of the tree that have a mistake.

fn main() {
    proofmark_engine_variants::write_variants(proofmark_engine_variants::Build::Loom);
}
