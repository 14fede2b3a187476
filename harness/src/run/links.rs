//! Which client reaches its server by which way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::RunError;
use super::fleet::Fleet;
use crate::population::ClientPlan;
use crate::proxy::{ANY_PORT, Proxy};
use crate::scenario::{Action, Concern, Scenario};

/// The proxies of a run: one for each group and server that needs one.
pub(super) struct Links {
    proxies: BTreeMap<(usize, usize), Proxy>,
}

impl Links {
    /// Starts the proxies that `scenario` needs.
    pub(super) async fn start(scenario: &Scenario, fleet: &Fleet) -> Result<Self, RunError> {
        let mut proxies = BTreeMap::new();
        for (number, group) in scenario.group.iter().enumerate() {
            // Whoever is left without a server goes to another one.
            let may_lose_server = fleet.len() > 1
                && scenario.step.iter().any(|step| step.action.concerns() == Concern::Servers);
            let is_disturbed = scenario.step.iter().any(|step| {
                matches!(step.action, Action::CutClients | Action::DelayClients)
                    && step.group.as_ref().is_none_or(|name| *name == group.name)
            });
            if !is_disturbed && !may_lose_server && group.bytes_per_second.is_none() {
                continue;
            }
            for server in 0..fleet.len() {
                let mut servers = Vec::with_capacity(fleet.len());
                for n in 0..fleet.len() {
                    let n = (server + n) % fleet.len();
                    servers.push(fleet.addr(n).ok_or_else(|| RunError::Target {
                        url: fleet.url(n).unwrap_or_default(),
                        problem: format!(
                            "is encrypted; group {} needs links that can be cut or narrowed, \
                             which works with http:// alone",
                            group.name
                        ),
                    })?);
                }
                let proxy = Proxy::start(ANY_PORT, servers, group.bytes_per_second)
                    .await
                    .map_err(|e| RunError::Environment(format!("no proxy: {e}")))?;
                proxies.insert((number, server), proxy);
            }
        }
        Ok(Self { proxies })
    }

    /// The base URL that a client connects to.
    pub(super) fn url(&self, client: &ClientPlan, server: usize, fleet: &Fleet) -> Option<String> {
        match self.proxies.get(&(client.group, server)) {
            Some(proxy) => Some(format!("http://{}", proxy.addr())),
            None => fleet.url(server),
        }
    }

    /// How many proxies there are.
    pub(super) fn len(&self) -> usize {
        self.proxies.len()
    }

    /// Cuts the connections of some groups; `closed` keeps them from coming back.
    pub(super) fn cut(&self, groups: &[usize], closed: bool) {
        for (_, proxy) in self.of(groups) {
            proxy.set_closed(closed);
            proxy.cut();
        }
    }

    /// Lets clients of some groups connect again.
    pub(super) fn reopen(&self, groups: &[usize]) {
        for (_, proxy) in self.of(groups) {
            proxy.set_closed(false);
        }
    }

    /// What passes to and from clients of some groups is late by `delay`.
    pub(super) fn delay(&self, groups: &[usize], delay: Duration) {
        for (_, proxy) in self.of(groups) {
            proxy.set_delay(delay);
        }
    }

    fn of(&self, groups: &[usize]) -> impl Iterator<Item = (&(usize, usize), &Proxy)> {
        self.proxies.iter().filter(move |((group, _), _)| groups.contains(group))
    }
}
