//! Why a site of the engine that no trial of the built-in runs misses is there all the same.
//!
//! The table is held to what the audit finds: a reason for a site that is missed, or that is no more, is as wrong as a site
//! without one.

use super::SiteReport;
use crate::explore::sites::{Activity, Site};

/// Why a site is needed, or harmless, although nothing is found without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    activity: Activity,
    /// What the site is known by: `sync data /db/log-*`.
    what: &'static str,
    /// The functions that make the call, the innermost first.
    callers: &'static str,
    /// The reason.
    pub why: &'static str,
}

/// The copy is looked at once, as soon as it is made.
const COPY: &str = "A run looks at a copy at once, and at no other time. \
    `properties/tests/it/backup.rs` loses the power after a backup, with this sync removed, too: the copy is then not whole.";
const COPY_ORDER: &str = "As where a database is created, it keeps a power loss in the middle from leaving a data file \
    without its log. A copy in the making is nobody's database yet.";
const OPENED_AGAIN: &str =
    "The copy is opened right after it was made, which syncs names that are durable by then.";

/// Two meta pages of one state take the place of those before.
const SOON_REPLACED: &str = "As after any checkpoint, who falls back to the older meta page needs its log, or has to see \
    that it is gone. A compaction soon puts two meta pages of one state in the place of both, and no run damages a page \
    before that.";

/// No built-in run dies between a rename and the sync behind it.
const DIED_BEFORE: &str = "It matters only if a process died, or a sync failed, between the rename that gives a segment up and \
    the sync behind it, and the newest meta page is damaged: `retirement-that-died-before-its-sync.plan` and \
    `retirement-that-a-failed-sync-dropped.plan` among the regressions show that.";

/// All reasons there are.
const REASONS: &[Reason] = &[
    reason(Activity::Compaction, "sync directory /db", "retire_log < complete", SOON_REPLACED),
    reason(Activity::Reopening, "sync directory /db", "renew_absence < recover", DIED_BEFORE),
    reason(Activity::Recovery, "sync directory /db", "renew_absence < recover", DIED_BEFORE),
    reason(Activity::Backup, "sync data /backup-*/data.new", "sync < create_database", COPY),
    reason(Activity::Backup, "sync data /backup-*/log-*", "begin_segment < create_database", COPY),
    reason(Activity::Backup, "sync directory /", "make_names_durable < backup", COPY),
    reason(Activity::Backup, "sync directory /backup-*", "make_names_durable < backup", COPY),
    reason(Activity::Backup, "sync directory /backup-*", "begin_segment < create_database", COPY_ORDER),
    reason(Activity::Backup, "sync directory /", "make_names_durable < open", OPENED_AGAIN),
    reason(Activity::Backup, "sync directory /backup-*", "make_names_durable < open", OPENED_AGAIN),
];

const fn reason(activity: Activity, what: &'static str, callers: &'static str, why: &'static str) -> Reason {
    Reason { activity, what, callers, why }
}

impl Reason {
    fn is_for(&self, site: &Site) -> bool {
        self.activity == site.activity
            && self.what == format!("{} {}", site.operation, site.file)
            && self.callers == site.functions()
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}, {}", self.activity, self.what, self.callers)
    }
}

/// Why nothing is found without a site, as far as that is known.
pub fn reason_for(site: &Site) -> Option<&'static Reason> {
    REASONS.iter().find(|reason| reason.is_for(site))
}

/// What is wrong between the reasons and the sites of the built-in runs of the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum Shortfall {
    /// Nothing is found without the site with this index, and nobody knows why.
    Unexplained(usize),
    /// The site is missed, and needs no reason any more.
    Necessary(&'static Reason),
    /// There is no such site.
    Gone(&'static Reason),
}

/// Compares the reasons with what was found.
pub fn shortfalls(sites: &[SiteReport]) -> Vec<Shortfall> {
    let is_open = |report: &SiteReport| report.necessity.is_none() && reason_for(&report.site).is_none();
    let unexplained = sites.iter().enumerate().filter(|(_, report)| is_open(report));
    let unexplained = unexplained.map(|(index, _)| Shortfall::Unexplained(index));
    let outdated =
        REASONS.iter().filter_map(|reason| match sites.iter().find(|report| reason.is_for(&report.site)) {
            None => Some(Shortfall::Gone(reason)),
            Some(report) => report.necessity.is_some().then_some(Shortfall::Necessary(reason)),
        });
    unexplained.chain(outdated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Caller;

    fn report(reason: &Reason) -> SiteReport {
        let (operation, file) = reason.what.rsplit_once(' ').unwrap();
        let caller = |function: &str| Caller { function: function.to_owned(), place: None };
        SiteReport {
            site: Site {
                activity: reason.activity,
                operation: operation.to_owned(),
                file: file.to_owned(),
                callers: reason.callers.split(" < ").map(caller).collect(),
            },
            syncs: 1,
            removed: 1,
            missed: 0,
            orderings: Vec::new(),
            necessity: None,
            unreproduced: None,
        }
    }

    /// The page that an audit has printed.
    const PAGE: &str = include_str!("../../../AUDIT.md");

    #[test]
    fn the_page_gives_these_reasons_and_misses_none() {
        let (_, missed_by_nobody) = PAGE.split_once("## Missed by nobody").expect("the page ends with that");
        let lines: Vec<&str> = missed_by_nobody.lines().filter(|line| line.starts_with("- ")).collect();
        assert_eq!(lines.len(), REASONS.len());
        for reason in REASONS {
            let what = reason.what.replace('*', "\\*");
            let is_it = |line: &&&str| line.contains(&format!(": {what}: ")) && line.ends_with(reason.why);
            assert!(lines.iter().any(|line| is_it(&line)), "{reason}");
        }
        assert!(missed_by_nobody.trim_end().ends_with(" 0 unexplained."), "run `proofmark audit --markdown`");
    }

    #[test]
    fn reasons_are_held_to_what_is_found() {
        let mut sites: Vec<SiteReport> = REASONS.iter().map(report).collect();
        assert_eq!(shortfalls(&sites), []);
        sites[0].site.callers.pop();
        assert_eq!(shortfalls(&sites), [Shortfall::Unexplained(0), Shortfall::Gone(&REASONS[0])]);
        sites[0] = report(&REASONS[0]);
        sites[1].necessity = Some(crate::explore::audit::tests::necessity());
        assert_eq!(shortfalls(&sites), [Shortfall::Necessary(&REASONS[1])]);
    }
}
