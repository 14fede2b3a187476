//! What is between the server and its clients: proxies that connect for them, and browsers that say of
//! which origin a page is.

use std::net::{IpAddr, SocketAddr};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use ipnet::IpNet;

use crate::config::{Config, network_of};
use crate::http::Problem;

/// Knows proxies, and which pages may connect.
#[derive(Debug)]
pub(crate) struct Front {
    proxies: Vec<IpNet>,
    /// Where proxies say for whom they connect.
    header: Option<HeaderName>,
    pages: Pages,
}

/// The web pages that may connect.
#[derive(Debug)]
enum Pages {
    All,
    /// Those of this machine.
    Local,
    Of(Vec<String>),
}

impl Front {
    /// As the configuration, which was checked, has it.
    pub(crate) fn new(config: &Config) -> Self {
        let allowed = &config.pages.origins;
        let pages = if allowed.iter().any(|origin| origin == "*") {
            Pages::All
        } else if !allowed.is_empty() {
            Pages::Of(allowed.clone())
        } else if config.auth.is_open() && !config.insecure {
            Pages::Local
        } else {
            Pages::All
        };
        Self {
            proxies: config.proxies.trusted.iter().filter_map(|text| network_of(text)).collect(),
            header: config.proxies.header.parse().ok(),
            pages,
        }
    }

    /// Whether this is a proxy that is believed. What is counted for each address is not counted for
    /// its own.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// From where a request really comes that came from `peer`: each proxy that is believed has said
    /// from where it had it.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let Some(header) = self.header.as_ref().filter(|_| self.is_proxy(peer.ip())) else {
            return peer;
        };
        let mut client = peer;
        let lines: Vec<_> = headers.get_all(header).iter().collect();
        let said = lines.iter().rev().filter_map(|line| line.to_str().ok());
        for word in said.flat_map(|line| line.rsplit(',')) {
            let Some(before) = address_in(word.trim()) else { break };
            client = before;
            if !self.is_proxy(before.ip()) {
                break;
            }
        }
        client
    }

    /// Refuses pages of origins that may not connect.
    ///
    /// # Errors
    /// With 403, for a page that may not.
    pub(crate) fn check_page(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let detail = match &self.pages {
            Pages::All => return Ok(()),
            Pages::Local if is_local(origin) => return Ok(()),
            Pages::Local => {
                "nobody is authenticated here, so that only pages of this machine may connect; list \
                 others in pages.origins"
            }
            Pages::Of(allowed)
                if allowed.iter().any(|known| known.eq_ignore_ascii_case(origin)) =>
            {
                return Ok(());
            }
            Pages::Of(_) => "pages of this origin may not connect (pages.origins)",
        };
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

/// An address as proxies write it, with or without a port.
fn address_in(word: &str) -> Option<SocketAddr> {
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
    let without_port = || bare.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    word.parse().ok().or_else(without_port)
}

/// Whether a page of this origin was served by this machine.
fn is_local(origin: &str) -> bool {
    let uri = origin.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::authority).map_or("", Authority::host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(change: impl FnOnce(&mut Config)) -> Front {
        Front::new(&Config::default().with(|config| {
            config.proxies.trusted = vec!["10.0.0.0/8".to_owned(), "::1".to_owned()];
            change(config);
        }))
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().expect("a value"))
        };
        HeaderMap::from_iter(lines.iter().map(line))
    }

    #[track_caller]
    fn seen(front: &Front, peer: &str, said: &[&str], expected: &str) {
        let mut headers = HeaderMap::new();
        for line in said {
            headers.append("x-forwarded-for", line.parse().expect("a value"));
        }
        let client = front.client(SocketAddr::new(peer.parse().expect("an address"), 7), &headers);
        assert_eq!(client.ip().to_string(), expected, "{peer} {said:?}");
    }

    #[test]
    fn proxies_that_are_trusted_say_for_whom_they_connect() {
        let front = front(|_| {});
        seen(&front, "10.0.0.1", &["192.0.2.7"], "192.0.2.7");
        seen(&front, "10.0.0.1", &["198.51.100.1, 192.0.2.7"], "192.0.2.7");
        seen(&front, "10.0.0.1", &["198.51.100.1, 192.0.2.7, 10.9.9.9"], "192.0.2.7");
        seen(&front, "10.0.0.1", &["198.51.100.1", "192.0.2.7"], "192.0.2.7");
        seen(&front, "10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7");
        seen(&front, "::1", &["[2001:db8::1]:4711"], "2001:db8::1");
        seen(&front, "::ffff:10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        seen(&front, "10.0.0.1", &["10.0.0.2"], "10.0.0.2");
    }

    #[test]
    fn others_are_not_believed_and_what_is_no_address_ends_it() {
        let front = front(|_| {});
        seen(&front, "192.0.2.1", &["198.51.100.1"], "192.0.2.1");
        seen(&front, "10.0.0.1", &[], "10.0.0.1");
        seen(&front, "10.0.0.1", &["198.51.100.1, nonsense"], "10.0.0.1");
        seen(&front, "10.0.0.1", &["nonsense, 10.0.0.3"], "10.0.0.3");
        let silent = Front { header: None, ..front };
        seen(&silent, "10.0.0.1", &["192.0.2.7"], "10.0.0.1");
    }

    #[test]
    fn pages_connect_from_where_they_may() {
        let may =
            |front: &Front, origin: &str| front.check_page(&headers(&[("origin", origin)])).is_ok();
        let local = front(|_| {});
        for origin in
            ["http://localhost:4200", "http://127.0.0.1", "http://[::1]:1", "http://a.localhost"]
        {
            assert!(may(&local, origin), "{origin}");
        }
        for origin in ["https://example.com", "null", "", "http://localhost.example.com", "file://"]
        {
            assert!(!may(&local, origin), "{origin}");
        }
        assert!(local.check_page(&HeaderMap::new()).is_ok(), "programs say nothing");
        let some = front(|config| config.pages.origins = vec!["https://example.com".to_owned()]);
        assert!(may(&some, "https://example.com") && may(&some, "HTTPS://EXAMPLE.COM"));
        assert!(!may(&some, "https://example.com:444") && !may(&some, "http://localhost"));
        assert!(may(&front(|config| config.insecure = true), "https://example.com"));
        let secret = "a secret of 32 bytes, or longer.";
        assert!(may(&front(|config| config.auth.secret = secret.into()), "https://example.com"));
        assert!(may(&front(|config| config.pages.origins = vec!["*".to_owned()]), "null"));
    }
}
