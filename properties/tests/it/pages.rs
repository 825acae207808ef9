//! Pages that suites write. Each says what was measured the last time that somebody asked for it.

use proofmark_properties::corpus::workspace;

/// Set to write pages anew.
pub(crate) const BLESS: &str = "PROOFMARK_BLESS";

/// Compares a page with what was measured, or writes it anew.
///
/// # Panics
/// If they differ in what `part` takes from either. `suite` is what to run then.
pub(crate) fn compare<T: PartialEq>(path: &str, suite: &str, measured: &str, part: impl Fn(&str) -> T) {
    let file = workspace().join(path);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&file, measured).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        part(&written) == part(measured),
        "{path} is not what was measured; look at the difference, then run\n\
         {BLESS}=1 cargo test -p proofmark-properties {suite}\n\n{measured}"
    );
}
