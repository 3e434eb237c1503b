//! The lines of a guest's `/etc/passwd` and `/etc/group`. The guest is hostile: a line that is not as it should be is
//! none.

use crate::model::user::id;

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    pub(super) name: &'t str,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: Option<&'t str>,
    pub(super) shell: Option<&'t str>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group<'t> {
    pub(super) name: &'t str,
    pub(super) gid: u32,
    members: &'t str,
}

impl Group<'_> {
    pub(super) fn has(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member == user && !user.is_empty())
    }
}

/// The users, in the file's order: of two with one name or number the first counts.
pub(super) fn users(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    lines(text).filter_map(|line| {
        let [name, _, uid, gid, _, home, shell] = fields(line)?;
        let absolute = |path: &'_ str| path.starts_with('/');
        Some(Entry {
            name,
            uid: id(uid)?,
            gid: id(gid)?,
            home: Some(home).filter(|path| absolute(path)),
            shell: Some(shell).filter(|path| absolute(path)),
        })
    })
}

/// The groups, in the file's order.
pub(super) fn groups(text: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(text).filter_map(|line| {
        let [name, _, gid, members] = fields(line)?;
        Some(Group { name, gid: id(gid)?, members })
    })
}

/// Lines of text without control characters.
fn lines(text: &[u8]) -> impl Iterator<Item = &str> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .filter(|line| !line.contains(char::is_control))
}

/// The fields of a line, when there are so many and the first names somebody.
fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut fields = [""; N];
    let mut parts = line.split(':');
    for field in &mut fields {
        *field = parts.next()?;
    }
    // `+` and `-` include and exclude others (NIS, compat).
    let first = fields[0].chars().next()?;
    (parts.next().is_none() && !matches!(first, '+' | '-' | '#')).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, u32)> {
        users(text.as_bytes()).map(|user| (user.name.to_owned(), user.uid)).collect()
    }

    #[test]
    fn a_file_as_nixos_writes_it() {
        let text = b"root:x:0:0:System administrator:/root:/run/current-system/sw/bin/bash\n\
                     alice:x:1000:100::/home/alice:/run/current-system/sw/bin/zsh\n\
                     nobody:x:65534:65534:Unprivileged account:/var/empty:/run/current-system/sw/bin/nologin\n";
        let users: Vec<_> = users(text).collect();
        assert_eq!(users.len(), 3);
        assert_eq!(
            users[1],
            Entry {
                name: "alice",
                uid: 1000,
                gid: 100,
                home: Some("/home/alice"),
                shell: Some("/run/current-system/sw/bin/zsh"),
            }
        );
        let groups: Vec<_> = groups(b"users:x:100:\nwheel:x:1:alice,bob\nempty:x:7:").collect();
        assert_eq!(groups.iter().map(|group| group.gid).collect::<Vec<_>>(), [100, 1, 7]);
        assert!(
            groups[1].has("alice") && groups[1].has("bob") && !groups[1].has("ali") && !groups[0].has("")
        );
    }

    #[test]
    fn lines_that_are_none_are_skipped() {
        for line in [
            "",
            ":",
            "::::::",
            ":x:1:1::/:/bin/sh",
            "+::::::",
            "+alice:x:1:1::/:/bin/sh",
            "-bob:x:1:1::/:/bin/sh",
            "#c:x:1:1::/:/bin/sh",
            "a:x:-1:1::/:/bin/sh",
            "a:x:+1:1::/:/bin/sh",
            "a:x: 1:1::/:/bin/sh",
            "a:x:0x1:1::/:/bin/sh",
            "a:x::1::/:/bin/sh",
            "a:x:4294967295:1::/:/bin/sh",
            "a:x:1:4294967296::/:/bin/sh",
            "a:x:18446744073709551616:1::/:/bin/sh",
            "a:x:1:1::/",
            "a:x:1:1::/:/bin/sh:more",
            "a:x:1:1::/home\u{1b}[2J:/bin/sh",
            "a:x:1:1::/\0:/bin/sh",
            "a\r:x:1:1::/:/bin/sh",
        ] {
            assert_eq!(
                names(&format!("{line}\nlast:x:7:7::/:/bin/sh")),
                [("last".to_owned(), 7)],
                "{line:?}"
            );
        }
        let bytes = b"\xff:x:1:1::/:/bin/sh\nlast:x:7:7::/:/bin/sh";
        assert_eq!(users(bytes).count(), 1);
    }

    #[test]
    fn relative_paths_are_no_home_and_no_shell() {
        let user = users(b"a:x:4294967294:1::home:sh").next().unwrap();
        assert_eq!((user.uid, user.home, user.shell), (u32::MAX - 1, None, None));
    }
}
