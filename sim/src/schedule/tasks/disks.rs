//! The disks of a simulated world: where a node is killed, its disk loses its power.
//!
//! From that moment on nothing that is left of the node reaches the disk, not by being dropped either. What survived is
//! decided by whoever lets the power come back, with [`SimDisk::crash`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use madsim::plugin::Simulator;
use madsim::rand::GlobalRng;
use madsim::task::NodeId;
use madsim::time::TimeHandle;

use crate::disk::SimDisk;

/// The disk of each node, as a simulator of madsim's.
#[derive(Default)]
pub(crate) struct Disks {
    mounted: Mutex<BTreeMap<NodeId, SimDisk>>,
}

impl Disks {
    /// Gives a node its disk.
    pub(crate) fn mount(&self, node: NodeId, disk: SimDisk) {
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner).insert(node, disk);
    }
}

impl Simulator for Disks {
    fn new(_rand: &GlobalRng, _time: &TimeHandle, _config: &madsim::Config) -> Disks {
        Disks::default()
    }

    /// The node was killed.
    fn reset_node(&self, node: NodeId) {
        if let Some(disk) = self.mounted.lock().unwrap_or_else(PoisonError::into_inner).get(&node) {
            disk.power_off();
        }
    }
}

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disks").finish_non_exhaustive()
    }
}
