//! Recycled memory for packets.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

use crate::MAX_IP_SIZE;

/// Buffers that each thread keeps for reuse; more than the data plane has in flight per batch.
const MAX_POOLED_BUFFERS: usize = 1024;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes of one packet. The memory returns to the pool of the thread that drops it.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty buffer with room for the largest packet.
    pub(crate) fn empty() -> Self {
        let recycled = FREE.try_with(|free| free.try_borrow_mut().ok()?.pop()).ok().flatten();

        Self(recycled.unwrap_or_else(|| Vec::with_capacity(MAX_IP_SIZE)))
    }

    /// A buffer with a copy of these bytes.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = Self::empty();
        buffer.0.extend_from_slice(bytes);
        buffer
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::copy_of(&self.0)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        bytes.clear();

        // While a thread ends, its pool may be gone already; then the memory is simply freed.
        let _ = FREE.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < MAX_POOLED_BUFFERS
            {
                free.push(bytes);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_buffer_is_reused_empty() {
        let first = Buffer::copy_of(&[1, 2, 3]);
        let memory = first.as_ptr();
        drop(first);

        let second = Buffer::empty();

        assert_eq!(second.as_ptr(), memory);
        assert!(second.is_empty());
    }
}
