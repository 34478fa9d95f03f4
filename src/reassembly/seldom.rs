//! Values that most flows leave as they begin.

/// A value that costs a pointer until it is first changed. A flow has many facts to keep for what may
/// go wrong, and with most flows nothing does: they should not pay for it with memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Seldom<T>(Option<Box<T>>);

impl<T: Default> Seldom<T> {
    /// The value, if it was changed.
    pub(super) fn changed(&self) -> Option<&T> {
        self.0.as_deref()
    }

    /// The value, if it was changed, to be changed further.
    pub(super) fn changed_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    /// The value, to be changed.
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }

    /// Whether the value was changed.
    #[inline]
    pub(super) const fn is_changed(&self) -> bool {
        self.0.is_some()
    }

    /// Bytes of memory beyond the struct itself.
    pub(super) fn memory(&self) -> usize {
        usize::from(self.0.is_some()) * size_of::<T>()
    }
}

impl<T: Default + Copy> Seldom<T> {
    /// The value.
    pub(super) fn get(&self) -> T {
        self.0.as_deref().copied().unwrap_or_default()
    }
}
