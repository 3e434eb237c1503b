//! liblxc, which only what starts or enters a guest loads: whether it is there is not seen before.

use crate::error::{self, Error};
use crate::host::Host;
use crate::lxc::Version;
use crate::model::host_report::{Finding, Part, Verdict};

#[expect(clippy::unnecessary_wraps, reason = "as all parts are looked at")]
pub(super) fn check(_: &Host) -> Result<Vec<Finding>, Error> {
    let (verdict, what, mend) = match Version::supported() {
        Ok(version) => (Verdict::Good, format!("version {version}"), None),
        Err(error) => {
            let mend = format!("install LXC {} or later (Debian: `lxc`)", Version::NEEDED);
            (Verdict::Wrong, error::chain(&error), Some(mend.into()))
        }
    };
    Ok(vec![Finding { part: Part::Lxc, name: "liblxc".to_owned(), verdict, what, mend }])
}
