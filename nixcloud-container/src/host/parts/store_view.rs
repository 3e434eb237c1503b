//! Whether guests can be shown a part of the store: tried with a package of it, since what a kernel and a file system can do
//! together is known by neither alone.

use std::time::Duration;

use crate::error::{self, Error};
use crate::host::Host;
use crate::model::hint::Hint;
use crate::model::host_report::{Finding, Part, Verdict};
use crate::model::idmap::RANGE;
use crate::model::observe::Cancel;
use crate::model::store_view::StoreView;
use crate::sys::userns::IdSpan;
use crate::worker::{Request, Stdio, WorkerError};

/// How long it may take: milliseconds, but for a disk that is slow to wake.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn check(host: &Host, cancel: &Cancel) -> Result<Vec<Finding>, Error> {
    let ids = || {
        let base = host.config.ids.pool().first()?[0];
        Some(IdSpan { owner: base, base, count: RANGE })
    };
    let ids = if host.facts()?.idmapped_store { ids() } else { None };
    let found = match seen(host, ids, cancel) {
        // As a start tries it.
        Err(WorkerError::Store { of_ids: true, .. }) => seen(host, None, cancel).map(|()| false),
        found => found.map(|()| ids.is_some()),
    };
    let full = host.config.store == StoreView::Full;
    let (verdict, what, mend) = match found {
        Err(WorkerError::Cancelled) => return Err(Error::Cancelled),
        Err(error) => {
            let (verdict, who) = if full {
                (Verdict::Off, "guests with `store = \"closure\"`")
            } else {
                (Verdict::Wrong, "guests without `store = \"full\"`")
            };
            let what = format!("{who} do not start: {}", error::chain(&error));
            (verdict, what, Error::from(error).hint())
        }
        Ok(_) if full => (
            Verdict::Off,
            "guests see all of it, as the host configuration says (`store`)".to_owned(),
            Some(Hint::from("`store = \"closure\"` shows each what its generations need")),
        ),
        Ok(true) => (Verdict::Good, "guests see what their generations need".to_owned(), None),
        Ok(false) => (
            Verdict::Good,
            "guests see what their generations need, and nobody (65534) as its owner: it cannot be shown with their ids here"
                .to_owned(),
            None,
        ),
    };
    Ok(vec![Finding { part: Part::Lxc, name: "store".to_owned(), verdict, what, mend }])
}

/// Shows a part of it, to nobody.
fn seen(host: &Host, ids: Option<IdSpan>, cancel: &Cancel) -> Result<(), WorkerError> {
    host.worker.call(&Request::TryStore { ids }, Stdio::Null, Some(LIMIT), cancel).map(drop)
}
