//! What must hold for a run to pass.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The limits of a scenario. One that is not given is not checked, except where a default is
/// stated: delivery is always checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sla {
    /// Emission is from when an event was due until its publisher has the acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emission_p50_ms: Option<f64>,
    /// 99 of 100 publishes stay within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emission_p99_ms: Option<f64>,
    /// Delivery is from when an event was due until a receiver's callback has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_p50_ms: Option<f64>,
    /// 99 of 100 deliveries stay within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_p99_ms: Option<f64>,
    /// 999 of 1000 deliveries stay within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_p999_ms: Option<f64>,
    /// No delivery takes longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_max_ms: Option<f64>,
    /// Delivered of expected is at least this (0 to 1). What a client was told to be missing
    /// counts as not delivered here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_ratio: Option<f64>,
    /// At most this many deliveries are missing without a gap having been told. Default 0.
    pub lost: u64,
    /// At most this many arrive more than once. Default 0.
    pub duplicated: u64,
    /// At most this many arrive after a later one of their stream. Default 0.
    pub out_of_order: u64,
    /// Half of the interrupted clients are back within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_p50_ms: Option<f64>,
    /// 99 of 100 interrupted clients are back within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_p99_ms: Option<f64>,
    /// Half of the edits made online are visible to each other client within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_p50_ms: Option<f64>,
    /// 99 of 100 edits made online are visible to each other client within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_p99_ms: Option<f64>,
    /// No server ever has more resident memory, in megabytes (10^6 bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_memory_mb: Option<f64>,
    /// With `--floor`: delivery p99 divided by that of the bare write loop is at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor_ratio_p99: Option<f64>,
    /// The harness itself is at most this late in 99 of 100 cases, else it does not certify
    /// anything. Default 2.5.
    pub harness_lag_p99_ms: f64,
    /// Limits for the deliveries to one group, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub group: BTreeMap<String, Scoped>,
    /// Limits for the events of one priority, by its word.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub priority: BTreeMap<String, Scoped>,
}

/// Limits for a part of the deliveries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scoped {
    /// Half of the deliveries stay within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_p50_ms: Option<f64>,
    /// 99 of 100 deliveries stay within this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_p99_ms: Option<f64>,
    /// At most this many deliveries are missing, told by a gap or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
}

impl Default for Sla {
    fn default() -> Self {
        Self {
            emission_p50_ms: None,
            emission_p99_ms: None,
            delivery_p50_ms: None,
            delivery_p99_ms: None,
            delivery_p999_ms: None,
            delivery_max_ms: None,
            delivered_ratio: None,
            lost: 0,
            duplicated: 0,
            out_of_order: 0,
            recovery_p50_ms: None,
            recovery_p99_ms: None,
            visible_p50_ms: None,
            visible_p99_ms: None,
            server_memory_mb: None,
            floor_ratio_p99: None,
            harness_lag_p99_ms: 2.5,
            group: BTreeMap::new(),
            priority: BTreeMap::new(),
        }
    }
}
