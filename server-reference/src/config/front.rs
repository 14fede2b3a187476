//! What is between the server and its clients: proxies, and web pages in browsers.

use serde::{Deserialize, Serialize};

settings! {
    /// Proxies in front of the server, which say for whom they connect.
    Proxies {
        /// Their addresses, or networks such as "10.0.0.0/8". What others say is not believed.
        trusted: Vec<String> = vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
        /// Where they say it: "x-forwarded-for", to which each appends whom it serves, or a header
        /// with one address, such as "x-real-ip" or "cf-connecting-ip". Empty: nowhere.
        header: String = "x-forwarded-for".to_owned(),
    }
}

settings! {
    /// Which web pages may connect. Browsers say of which origin a page is; programs say nothing,
    /// and are not asked.
    Pages {
        /// The origins, such as `https://example.com`, or "*" alone for all. None: all, but where
        /// nobody is authenticated those of this machine alone (unless insecure is set).
        origins: Vec<String> = Vec::new(),
    }
}
