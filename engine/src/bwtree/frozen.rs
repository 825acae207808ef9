//! Types whose values may be moved while they are looked at.

use std::marker::PhantomData;

use crate::sync::Arc;

/// A type whose values never change through a shared reference, as far as they are not behind a pointer.
///
/// Consolidation moves keys and values, by their bits, from a page that others still read to a page that yet others
/// read already. A lock or an atomic would then exist twice. Behind a pointer it exists once: an `Arc<Mutex<T>>` is
/// frozen, a `Mutex<T>` is not.
///
/// # Safety
/// No byte of a value changes while there is a shared reference to it.
pub unsafe trait Frozen {}

macro_rules! frozen {
    ($($frozen:ty),* $(,)?) => {$(
        // SAFETY: numbers and the like, without cells.
        unsafe impl Frozen for $frozen {}
    )*};
}

frozen! {
    (), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, String,
}

macro_rules! frozen_pointers {
    ($($parameter:ident: $pointer:ty),* $(,)?) => {$(
        // SAFETY: what it owns or points to lies elsewhere; pointer and length change by an exclusive reference only.
        unsafe impl<$parameter: ?Sized> Frozen for $pointer {}
    )*};
}

frozen_pointers! { T: Arc<T>, T: Box<T>, T: &'static T, T: PhantomData<T> }

// SAFETY: as for the other pointers.
unsafe impl<T> Frozen for Vec<T> {}
// SAFETY: nothing but what its parts are.
unsafe impl<T: Frozen> Frozen for Option<T> {}
// SAFETY: as above.
unsafe impl<T: Frozen, E: Frozen> Frozen for Result<T, E> {}
// SAFETY: as above.
unsafe impl<T: Frozen, const N: usize> Frozen for [T; N] {}
// SAFETY: as above.
unsafe impl<A: Frozen, B: Frozen> Frozen for (A, B) {}
// SAFETY: as above.
unsafe impl<A: Frozen, B: Frozen, C: Frozen> Frozen for (A, B, C) {}
