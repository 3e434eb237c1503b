//! How programs make values whose fields may become more: requests, configuration, and for their own tests what they are answered.

/// The setters of a struct, each of which takes whatever becomes the type of its field, and its `new`: of a text alone the default
/// one, of a text and a list one with just these fields. No program outside can write such a struct with all its fields.
macro_rules! setters {
    ($of:ident { $($setter:ident => $field:ident: $type:ty,)* }) => {
        impl $of {
            $(
                #[doc = concat!("With this [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: impl Into<$type>) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
    ($of:ident: $new:literal { $($setter:ident => $field:ident: $type:ty,)+ }) => {
        impl $of {
            #[doc = $new]
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }
        }

        setters!($of { $($setter => $field: $type,)+ });
    };
    // With what it cannot be without; all else is empty.
    ($of:ident: $new:literal ($($given:ident: $needed:ty),*) { $($setter:ident => $field:ident: $type:ty,)* }) => {
        impl $of {
            #[doc = $new]
            #[must_use]
            pub fn new($($given: impl Into<$needed>),*) -> Self {
                Self { $($given: $given.into(),)* $($field: Default::default(),)* }
            }
        }

        setters!($of { $($setter => $field: $type,)* });
    };
}

pub(crate) use setters;
