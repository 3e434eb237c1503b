//! An error as it is stored or sent.

use serde::ser::SerializeStruct;

use super::Error;

/// An error as it is sent: `kind`, `message`, the `causes` below it, and the `hint`.
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let mut object = to.serialize_struct("Error", 4)?;
        object.serialize_field("kind", &self.kind())?;
        object.serialize_field("message", &self.to_string())?;
        object.serialize_field("causes", &causes)?;
        object.serialize_field("hint", &self.hint())?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::error::ErrorKind;
    use crate::model::hint::Hint;
    use crate::model::name::ContainerName;

    #[test]
    fn an_error_is_sent_with_its_kind_its_causes_and_its_hint() {
        let name: ContainerName = "web".parse().unwrap();
        let source = io::Error::from_raw_os_error(2);
        let mount = Error::MountSource { name: name.clone(), path: "/srv".into(), source };
        let json = serde_json::to_value(&mount).unwrap();
        assert_eq!(json["kind"], "host");
        assert_eq!(json["message"], "cannot mount /srv in container `web`");
        assert_eq!(json["causes"][0], "No such file or directory (os error 2)");
        let hint: Hint = serde_json::from_value(json["hint"].clone()).unwrap();
        assert_eq!(Some(hint), mount.hint());
        let json = serde_json::to_value(Error::Exists { name: name.clone() }).unwrap();
        assert_eq!(json["hint"][0]["remedy"]["update"]["name"], "web");
        assert_eq!(Error::from("..".parse::<ContainerName>().unwrap_err()).kind(), ErrorKind::Input);
    }
}
