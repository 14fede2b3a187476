//! What the client must do in a browser. A page loads this module and runs its checks, each
//! against a real server; so does Node.
//!
//! On any other platform there is nothing here: the client's other tests are for those.
#![cfg(target_family = "wasm")]

mod collections;
mod events;
mod page;
mod place;

use wasm_bindgen::prelude::wasm_bindgen;

use crate::place::{Checked, Place};

/// The names of the checks; with those of pages, which Node has none of, if `page` says so.
#[wasm_bindgen]
pub fn checks(page: bool) -> Vec<String> {
    let transports = ["ws", "socketio-websocket", "socketio-polling"];
    let everywhere = ["delivers", "asks", "survives_a_restart", "shares_a_collection"];
    let each = everywhere.iter().flat_map(|check| transports.map(|by| format!("{check} {by}")));
    let once = ["switches ws".to_owned(), "leaves_nothing_open ws".to_owned()];
    let of_page = ["recovers_what_it_missed", "comes_back_at_once"];
    let of_page = of_page.iter().flat_map(|check| transports.map(|by| format!("{check} {by}")));
    each.chain(once).chain(of_page.filter(|_| page)).collect()
}

/// Runs a check against the server at `url`; `please` has what runs this do something else.
///
/// # Errors
/// Says what was wrong.
#[wasm_bindgen]
pub async fn check(name: String, url: String, please: js_sys::Function) -> Result<(), String> {
    let (check, transport) = name.split_once(' ').ok_or("which transport?")?;
    let place = Place { url, transport: transport.to_owned(), please };
    let checked: Checked = match check {
        "delivers" => events::delivers(&place).await,
        "asks" => events::asks(&place).await,
        "survives_a_restart" => events::survives_a_restart(&place).await,
        "switches" => events::switches(&place).await,
        "shares_a_collection" => collections::shares_a_collection(&place).await,
        "leaves_nothing_open" => events::leaves_nothing_open(&place).await,
        "recovers_what_it_missed" => page::recovers_what_it_missed(&place).await,
        "comes_back_at_once" => page::comes_back_at_once(&place).await,
        other => Err(format!("there is no check {other:?}").into()),
    };
    checked.map_err(|error| error.to_string())
}
