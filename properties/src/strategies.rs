//! Proptest strategies for everything from a key to a plan.
//!
//! A plan is drawn as a list of *turns*, each of which stands on its own: a client reads, writes or ends what it has
//! open. Two passes make a plan of them, after every draw and after every step of shrinking: transactions are begun
//! where a turn needs one, and values are numbered, so that they are unique. Shrinking therefore deletes and
//! simplifies turns, and whatever is left is a plan that makes sense.
//!
//! Every draw follows from a fixed seed: a suite tries the same cases on every machine and every day. The environment
//! variable `PROPTEST_CASES` asks for more of them, and `PROPTEST_RNG_SEED` for others.

use std::fmt;
use std::ops::Bound;

use proofmark_model::{
    ClientId, Commit, Denial, Durability, Event, FailedCall, Failure, FaultClass, History, Key, KeyRange,
    MarkLabel, Mode, Mutation, Operation, Refusal, SavepointLabel, TxnId, TxnLabel, Value, unique_value,
};
use proofmark_sim::disk::{DirectoryPersistence, DiskOptions, Granule, Keep, Moment, Order, Sizes};
use proofmark_sim::plan::{Action, Begin, Config, CrashSpec, Plan, Retention, Step, Strike};
use proofmark_sim::store::StoreKind;
use proptest::collection::vec;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any};
use proptest::sample::select;
use proptest::test_runner::{Config as Cases, FileFailurePersistence, RngSeed};
use proptest::{option, prop_oneof};

use crate::corpus;

/// Something whose debug form is its text form, so that a failing case is printed ready to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Printed<T>(pub T);

/// What a plan may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The store that it is for.
    pub store: StoreKind,
    /// How many clients there are.
    pub clients: u32,
    /// The most turns that they take.
    pub turns_max: usize,
    /// Of a hundred turns, about how many write.
    pub write_percent: u32,
    /// Whether readers ask for older states.
    pub travels: bool,
    /// Whether the store is closed and opened again.
    pub reopens: bool,
    /// Whether the power fails.
    pub crashes: bool,
}

/// What a client does next, or what happens to the store.
#[derive(Debug, Clone)]
enum Turn {
    /// Reads, in whatever transaction is open, or in a new one.
    Read(u32, Operation),
    /// Writes, in the write transaction that is open, or in a new one.
    Write(u32, Operation),
    /// Asks to write, whether that is possible or not.
    Collide(u32),
    /// Reads an older state, or a future one.
    Travel(u32, i64),
    /// Ends what is open.
    End(u32, Action),
    /// Anything that is no client's.
    Other(Step),
}

impl<T: fmt::Display> fmt::Debug for Printed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

impl Shape {
    /// Many steps of a few clients on `store`, in which nothing fails.
    pub fn calm(store: StoreKind) -> Shape {
        Shape {
            store,
            clients: 4,
            turns_max: 120,
            write_percent: 50,
            travels: true,
            reopens: true,
            crashes: false,
        }
    }

    /// The same, with power losses.
    pub fn crashing(store: StoreKind) -> Shape {
        Shape { crashes: true, ..Shape::calm(store) }
    }
}

/// So many cases, the same every time. Failures are kept in `corpora/proptest-regressions/<suite>.txt`.
pub fn cases(suite: &str, count: u32) -> Cases {
    let file = corpus::folder("proptest-regressions").join(suite).with_extension("txt");
    // The library wants a path that lives as long as the program does; there is one for each suite.
    let file: &'static str = file.to_string_lossy().into_owned().leak();
    let is_set = |name| std::env::var_os(name).is_some();
    let environment = Cases::default();
    Cases {
        cases: if is_set("PROPTEST_CASES") { environment.cases } else { count },
        rng_seed: if is_set("PROPTEST_RNG_SEED") { environment.rng_seed } else { RngSeed::Fixed(0) },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        max_shrink_iters: 20_000,
        ..environment
    }
}

/// A key: mostly one of a few, so that transactions meet; some with a long common prefix, some of arbitrary bytes.
pub fn key() -> BoxedStrategy<Key> {
    prop_oneof![
        8 => (0u8..20).prop_map(|number| format!("k{number:02}").into_bytes()),
        2 => (0u8..8).prop_map(|number| [vec![b'p'; 300], vec![number]].concat()),
        1 => vec(select(&[0u8, 1, b'k', 0x7f, 0xff][..]), 0..4),
    ]
    .boxed()
}

/// A value that is not unique yet, from small to larger than a page.
pub fn value() -> BoxedStrategy<Value> {
    prop_oneof![20 => 8usize..64, 4 => 64usize..1500, 1 => 1500usize..20_000]
        .prop_map(|length| unique_value(0, length))
        .boxed()
}

/// A range of keys: all of them, those of a prefix, or between two bounds in any order.
pub fn range() -> BoxedStrategy<KeyRange> {
    let bound = || {
        prop_oneof![
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded),
            Just(Bound::Unbounded::<Key>)
        ]
    };
    prop_oneof![
        2 => Just(KeyRange::all()),
        1 => key().prop_map(|key| KeyRange::prefix(&key)),
        4 => (bound(), bound()).prop_map(|(start, end)| KeyRange { start, end }),
    ]
    .boxed()
}

/// A get or a scan.
pub fn read() -> BoxedStrategy<Operation> {
    let limit = prop_oneof![4 => 0usize..8, 1 => Just(usize::MAX)];
    prop_oneof![
        key().prop_map(|key| Operation::Get { key }),
        (range(), limit, any::<bool>()).prop_map(|(range, limit, reverse)| Operation::Scan {
            range,
            limit,
            reverse
        }),
    ]
    .boxed()
}

/// A put or a delete.
pub fn write() -> BoxedStrategy<Operation> {
    prop_oneof![
        3 => (key(), value()).prop_map(|(key, value)| Operation::Put { key, value }),
        1 => key().prop_map(|key| Operation::Delete { key }),
    ]
    .boxed()
}

/// A put, a delete, or now and then a removed range.
fn mutation() -> BoxedStrategy<Operation> {
    prop_oneof![
        16 => write(),
        1 => range().prop_map(|range| Operation::DeleteRange { range }),
    ]
    .boxed()
}

/// Whatever a writer can do: reads, writes, removed ranges and savepoints.
pub fn writer_operation() -> BoxedStrategy<Operation> {
    let savepoint = || (0u32..4).prop_map(SavepointLabel);
    prop_oneof![
        10 => write(),
        3 => read(),
        1 => range().prop_map(|range| Operation::DeleteRange { range }),
        1 => savepoint().prop_map(|savepoint| Operation::Savepoint { savepoint }),
        1 => savepoint().prop_map(|savepoint| Operation::Rollback { savepoint }),
    ]
    .boxed()
}

/// Any operation.
pub fn operation() -> BoxedStrategy<Operation> {
    prop_oneof![read(), write(), writer_operation()].boxed()
}

/// A list of transactions, each a list of puts and deletes; values are unique.
pub fn transactions(count_max: usize) -> BoxedStrategy<Vec<Vec<Operation>>> {
    let numbered = |mut transactions: Vec<Vec<Operation>>| {
        number_values(transactions.iter_mut().flatten());
        transactions
    };
    vec(vec(write(), 1..8), 1..=count_max).prop_map(numbered).boxed()
}

/// How a store is opened.
pub fn config() -> BoxedStrategy<Config> {
    (
        select(&[4096u32, 4096, 4096, 8192, 16384, 32768, 65536][..]),
        select(&[16usize, 64, 1024][..]),
        select(&[4096u64, 8192, 16384, 65536, 1 << 20][..]),
        (select(&[64u64, 1000, 4096, 256 << 10][..]), select(&[0usize, 500, 16 << 20][..]), 0usize..4),
        select(&[4096usize, 16384, 1 << 20][..]),
        retention(),
        any::<bool>(),
    )
        .prop_map(|(page_size, cache_pages, segment_bytes, chunks, write_tier_bytes, retention, two)| {
            Config {
                page_size,
                cache_bytes: cache_pages * page_size as usize,
                segment_bytes,
                spare_segments: chunks.2,
                log_chunk_bytes: chunks.0,
                stream_bytes: chunks.1,
                write_tier_bytes,
                retention,
                prune: false,
                two_phase_commit: two,
                quick_repair: false,
            }
        })
        .boxed()
}

/// A plan.
pub fn plan(shape: Shape) -> BoxedStrategy<Printed<Plan>> {
    let disk = (
        select(&[Order::Any, Order::Any, Order::Metadata, Order::Ordered, Order::Prefix][..]),
        select(&[Sizes::Independent, Sizes::DataFirst, Sizes::SizeFirst][..]),
        select(&Granule::ALL[..]),
        select(&[DirectoryPersistence::WithDirectorySync, DirectoryPersistence::WithFileSync][..]),
        select(&[1u64 << 14, 1 << 26][..]),
    );
    let disk = disk.prop_map(|(order, sizes, granule, directory_persistence, dirty_bytes_max)| DiskOptions {
        order,
        sizes,
        granule,
        directory_persistence,
        dirty_bytes_max,
    });
    (config(), disk, vec(turn(shape), 1..=shape.turns_max))
        .prop_map(move |(config, disk, turns)| {
            let mut steps = complete(turns);
            number_values(steps.iter_mut().filter_map(|step| match step {
                Step::Client(_, Action::Operation(operation)) => Some(operation),
                _ => None,
            }));
            Printed(Plan { config, disk, steps, ..Plan::new(shape.store) })
        })
        .boxed()
}

/// Any history at all: it has a text form, and needs to have no sense.
pub fn history() -> BoxedStrategy<Printed<History>> {
    vec(event(), 0..20).prop_map(|events| Printed(History { events })).boxed()
}

/// Any event.
pub fn event() -> BoxedStrategy<Event> {
    let label = || any::<u32>().prop_map(TxnLabel);
    let client = || any::<u32>().prop_map(ClientId);
    let id = || any::<u64>().prop_map(TxnId);
    let mode = || {
        prop_oneof![Just(Mode::Read), Just(Mode::Write), Just(Mode::Optimistic), id().prop_map(Mode::ReadAt)]
    };
    let bytes = || prop_oneof![3 => vec(any::<u8>(), 0..12), 1 => (any::<u64>(), 0usize..99).prop_map(|(n, l)| unique_value(n, l))];
    let pairs = || vec((bytes(), bytes()), 0..4);
    let scan = (label(), range(), any::<usize>(), any::<bool>(), pairs());
    prop_oneof![
        (client(), label(), mode(), option::of(id()))
            .prop_map(|(client, txn, mode, snapshot)| Event::Begin { client, txn, mode, snapshot }),
        (client(), mode(), refusal(), option::of(id()))
            .prop_map(|(client, mode, reason, oldest)| Event::Refused { client, mode, reason, oldest }),
        (label(), bytes(), option::of(bytes())).prop_map(|(txn, key, value)| Event::Get { txn, key, value }),
        scan.prop_map(|(txn, range, limit, reverse, pairs)| Event::Scan {
            txn,
            range,
            limit,
            reverse,
            pairs
        }),
        (label(), bytes(), bytes()).prop_map(|(txn, key, value)| Event::Put { txn, key, value }),
        (label(), bytes()).prop_map(|(txn, key)| Event::Delete { txn, key }),
        (label(), durability()).prop_map(|(txn, durability)| Event::Submit { txn, durability }),
        (label(), option::of(id())).prop_map(|(txn, id)| Event::Committed { txn, id }),
        label().prop_map(|txn| Event::Aborted { txn }),
        Just(Event::Durable),
        any::<bool>().prop_map(|is_power_loss| Event::Crash { is_power_loss }),
        Just(Event::Opening),
        (option::of(id()), option::of(id()), option::of(retention()), pairs()).prop_map(
            |(latest, oldest, retention, state)| Event::Opened { latest, oldest, retention, state }
        ),
        (".{0,12}", ".{0,12}").prop_map(|(what, error)| Event::Failed { what, error }),
        newer_event(),
    ]
    .boxed()
}

/// Any event of range deletes, savepoints, tickets, conflicts, streams, backups, full disks and failing calls.
fn newer_event() -> BoxedStrategy<Event> {
    let label = || any::<u32>().prop_map(TxnLabel);
    let savepoint = || any::<u32>().prop_map(SavepointLabel);
    let mark = || any::<u32>().prop_map(MarkLabel);
    let id = || any::<u64>().prop_map(TxnId);
    let bytes = || vec(any::<u8>(), 0..12);
    let mutation = (bytes(), option::of(bytes())).prop_map(|(key, value)| Mutation { key, value });
    let commit = (id(), vec(mutation, 0..3)).prop_map(|(id, mutations)| Commit { id, mutations });
    let denial = prop_oneof![
        bytes().prop_map(|key| Denial::Conflict { key }),
        select(&[Denial::WriteBusy, Denial::OutOfSpace, Denial::Poisoned][..]),
    ];
    prop_oneof![
        (label(), range(), any::<u64>(), vec(bytes(), 0..4))
            .prop_map(|(txn, range, count, keys)| Event::DeleteRange { txn, range, count, keys }),
        (label(), savepoint()).prop_map(|(txn, savepoint)| Event::Savepoint { txn, savepoint }),
        (label(), savepoint(), any::<bool>()).prop_map(|(txn, savepoint, is_refused)| Event::Rollback {
            txn,
            savepoint,
            is_refused
        }),
        (label(), mark(), any::<bool>()).prop_map(|(txn, mark, is_persistent)| Event::Mark {
            txn,
            mark,
            is_persistent
        }),
        (label(), mark(), any::<bool>()).prop_map(|(txn, mark, is_refused)| Event::Restore {
            txn,
            mark,
            is_refused
        }),
        (label(), mark(), any::<bool>()).prop_map(|(txn, mark, is_refused)| Event::Forget {
            txn,
            mark,
            is_refused
        }),
        (label(), option::of(id())).prop_map(|(txn, id)| Event::Ticket { txn, id }),
        (label(), denial).prop_map(|(txn, reason)| Event::Denied { txn, reason }),
        (id(), any::<usize>(), option::of(id()), vec(commit, 0..3))
            .prop_map(|(from, limit, oldest, commits)| Event::Changes { from, limit, oldest, commits }),
        (id(), refusal(), option::of(id())).prop_map(|(from, reason, oldest)| Event::ChangesRefused {
            from,
            reason,
            oldest
        }),
        (id(), id(), id(), vec((bytes(), bytes()), 0..4))
            .prop_map(|(at, latest, oldest, state)| Event::Backup { at, latest, oldest, state }),
        option::of(any::<u64>()).prop_map(|bytes| Event::Space { bytes }),
        (told(), ".{0,12}").prop_map(|(client, what)| Event::OutOfSpace { client, what }),
        (
            select(&FaultClass::ALL[..]),
            option::of(failure()),
            any::<bool>(),
            option::of(any::<u64>()),
            ".{0,12}"
        )
            .prop_map(|(class, failure, is_passing, groups, call)| Event::Fault {
                class,
                failure,
                is_passing,
                groups,
                call
            }),
        (told(), ".{0,12}", ".{0,12}").prop_map(|(client, what, error)| Event::GaveUp {
            client,
            what,
            error
        }),
        (told(), ".{0,12}").prop_map(|(client, what)| Event::Poisoned { client, what }),
        (told(), ".{0,12}", ".{0,12}").prop_map(|(client, what, error)| Event::Corrupt {
            client,
            what,
            error
        }),
        select(&[Event::MadeGood, Event::Healed, Event::Closed][..]),
    ]
    .boxed()
}

/// Who was told of a failure.
fn told() -> BoxedStrategy<Option<ClientId>> {
    option::of(any::<u32>().prop_map(ClientId)).boxed()
}

fn failure() -> BoxedStrategy<Failure> {
    (select(&FailedCall::ALL[..]), any::<bool>(), any::<bool>())
        .prop_map(|(call, is_no_space, is_fatal)| Failure { call, is_no_space, is_fatal })
        .boxed()
}

fn refusal() -> BoxedStrategy<Refusal> {
    let all =
        &[Refusal::WriteBusy, Refusal::SnapshotNotFound, Refusal::ChangesNotRetained, Refusal::Poisoned];
    select(&all[..]).boxed()
}

fn retention() -> BoxedStrategy<Retention> {
    prop_oneof![Just(Retention::Latest), (0u64..12).prop_map(Retention::Txns), Just(Retention::All)].boxed()
}

fn durability() -> BoxedStrategy<Durability> {
    prop_oneof![2 => Just(Durability::Sync), 1 => Just(Durability::Buffered)].boxed()
}

fn turn(shape: Shape) -> BoxedStrategy<Turn> {
    let client = || 0..shape.clients;
    let end = prop_oneof![5 => durability().prop_map(Action::Commit), 1 => Just(Action::Abort)];
    let back = prop_oneof![6 => 0i64..6, 1 => Just(-1i64), 1 => Just(1000i64)];
    let mut others = vec![(4, Just(Step::Checkpoint).boxed()), (1, Just(Step::Verify).boxed())];
    if shape.reopens {
        others.push((1, Just(Step::Reopen).boxed()));
    }
    if shape.crashes {
        others.push((4, vec(strike(), 1..4).prop_map(|strikes| Step::Crash(CrashSpec { strikes })).boxed()));
    }
    let others = proptest::strategy::Union::new_weighted(others);
    let mut turns = vec![
        (
            100 - shape.write_percent,
            (client(), read()).prop_map(|(client, read)| Turn::Read(client, read)).boxed(),
        ),
        (
            shape.write_percent,
            (client(), mutation()).prop_map(|(client, write)| Turn::Write(client, write)).boxed(),
        ),
        (30, (client(), end).prop_map(|(client, end)| Turn::End(client, end)).boxed()),
        (8, others.prop_map(Turn::Other).boxed()),
        (2, client().prop_map(Turn::Collide).boxed()),
    ];
    if shape.travels {
        turns.push((12, (client(), back).prop_map(|(client, back)| Turn::Travel(client, back)).boxed()));
    }
    turns.retain(|(weight, _)| *weight > 0);
    proptest::strategy::Union::new_weighted(turns).boxed()
}

fn strike() -> BoxedStrategy<Strike> {
    let seed = || 0u64..1000;
    let keep = prop_oneof![
        2 => Just(Keep::None),
        1 => Just(Keep::All),
        2 => (0u16..=1000).prop_map(|permille| Keep::Prefix { permille }),
        4 => (select(&[125u16, 500, 875][..]), seed())
            .prop_map(|(permille, seed)| Keep::Random { permille, seed }),
        1 => seed().prop_map(|seed| Keep::AllButOne { seed }),
        1 => seed().prop_map(|seed| Keep::OnlyOne { seed }),
        2 => Just(Keep::PageCache),
    ];
    let call = prop_oneof![3 => 1u64..8, 2 => 1u64..32, 1 => 1u64..128];
    (call, select(&[Moment::Before, Moment::After][..]), keep)
        .prop_map(|(call, moment, keep)| Strike { call, moment, keep })
        .boxed()
}

/// Makes steps of turns, and begins transactions where they are needed.
fn complete(turns: Vec<Turn>) -> Vec<Step> {
    let mut steps = Vec::with_capacity(turns.len());
    let mut readers: Vec<u32> = Vec::new();
    let mut writer: Option<u32> = None;
    for turn in turns {
        let (client, action) = match turn {
            Turn::Other(step) => {
                if matches!(step, Step::Reopen) {
                    readers.clear();
                    writer = None;
                }
                steps.push(step);
                continue;
            }
            Turn::Read(client, operation) => {
                if writer != Some(client) && !readers.contains(&client) {
                    readers.push(client);
                    steps.push(Step::Client(ClientId(client), Action::Begin(Begin::Read)));
                }
                (client, Action::Operation(operation))
            }
            Turn::Write(client, operation) => {
                let client = writer.unwrap_or(client);
                if writer.is_none() {
                    if readers.contains(&client) {
                        readers.retain(|reader| *reader != client);
                        steps.push(Step::Client(ClientId(client), Action::Abort));
                    }
                    writer = Some(client);
                    steps.push(Step::Client(ClientId(client), Action::Begin(Begin::Write)));
                }
                (client, Action::Operation(operation))
            }
            Turn::Collide(client) => {
                if writer.is_none() && !readers.contains(&client) {
                    writer = Some(client);
                }
                (client, Action::Begin(Begin::Write))
            }
            Turn::Travel(client, back) => {
                if writer != Some(client) && !readers.contains(&client) {
                    readers.push(client);
                }
                (client, Action::Begin(Begin::ReadBack(back)))
            }
            Turn::End(client, end) => {
                readers.retain(|reader| *reader != client);
                writer = writer.filter(|writer| *writer != client);
                (client, end)
            }
        };
        steps.push(Step::Client(ClientId(client), action));
    }
    steps
}

/// Gives every put a value of its own, of the length it has.
pub fn number_values<'a>(operations: impl Iterator<Item = &'a mut Operation>) {
    for (operation, number) in operations.zip(1..) {
        if let Operation::Put { value, .. } = operation {
            *value = unique_value(number, value.len());
        }
    }
}
