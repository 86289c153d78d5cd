//! Links the crates that promise `no_std` into a library that has its own panic handler and allocator.
#![no_std]

extern crate authenticode as _;
extern crate efivars as _;
extern crate pcr as _;
extern crate uki as _;


use core::alloc::{GlobalAlloc, Layout};

struct NoMemory;

// SAFETY: returning null is how an allocator says that it has no memory; nothing is ever handed out or taken back.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _pointer: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
