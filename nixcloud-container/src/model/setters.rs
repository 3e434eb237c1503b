//! Setters of what a program asks for.

/// The setters of a request: each takes whatever becomes the type of its field. Requests grow, so that no program outside can write
/// one with all its fields.
macro_rules! setters {
    ($of:ident { $($setter:ident => $field:ident: $type:ty,)+ }) => {
        impl $of {
            $(
                #[doc = concat!("With this [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: impl Into<$type>) -> Self {
                    self.$field = $field.into();
                    self
                }
            )+
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
}

pub(crate) use setters;
