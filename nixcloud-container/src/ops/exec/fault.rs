//! Commands that no process could be given.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::RunRequest;
use crate::model::run_error::RunError;

/// Refuses what no process could be given.
pub(super) fn check(request: &RunRequest) -> Result<(), RunError> {
    let clean = |text: &OsStr, what| {
        if text.as_bytes().contains(&0) { Err(RunError::Nul { what }) } else { Ok(()) }
    };
    if !request.login && request.command.first().is_none_or(|program| program.is_empty()) {
        return Err(RunError::NoProgram);
    }
    request.command.iter().try_for_each(|argument| clean(argument, "an argument"))?;
    for (name, value) in &request.env {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(RunError::Variable { name: name.to_string_lossy().into_owned() });
        }
        clean(name, "a variable's name")?;
        clean(value, "a variable")?;
    }
    request.directory.iter().try_for_each(|folder| clean(folder.as_os_str(), "the folder"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_no_process_could_be_given_is_refused() {
        let said = |request: RunRequest| check(&request).unwrap_err().to_string();
        let run = || RunRequest::new(["sh"]);
        assert_eq!(said(RunRequest::new(Vec::<&str>::new())), "no program is named");
        assert_eq!(said(RunRequest::new([""])), "no program is named");
        assert_eq!(said(RunRequest::new(["a", "b\0"])), "an argument has a NUL byte in it");
        for name in ["", "A=B"] {
            let request = run().with_env([(name.into(), "1".into())]);
            assert_eq!(said(request), format!("{name:?} cannot name an environment variable"));
        }
        assert!(said(run().with_env([("A".into(), "\0".into())])).starts_with("a variable has"));
        assert!(said(run().with_directory(Some(PathBuf::from("a\0")))).starts_with("the folder has"));
        assert!(check(&run()).is_ok() && check(&RunRequest::login(None)).is_ok());
    }
}
