// From one stack to another: a few dozen instructions, no system call.
#pragma once

// Saves what a call must keep on the running stack, its address to *save, and goes on where `load` was saved.
extern "C" void shoal_emu_switch(void** save, void* load);

#if defined(__APPLE__)
#define EMU_SYMBOL "_shoal_emu_switch"
#else
#define EMU_SYMBOL "shoal_emu_switch"
#endif

#if defined(__x86_64__) && !defined(_WIN32)
asm(".text\n.globl " EMU_SYMBOL "\n" EMU_SYMBOL ":\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
// A stack on which a switch starts `run`, which must not return.
static inline void* emu_new_stack(char* top, void (*run)()) {
    void** sp = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15));
    *--sp = nullptr; // as if called: 8 below a multiple of 16
    *--sp = reinterpret_cast<void*>(run);
    for (int i = 0; i < 6; ++i) *--sp = nullptr;
    return sp;
}
#elif defined(__aarch64__)
asm(".text\n.globl " EMU_SYMBOL "\n.p2align 2\n" EMU_SYMBOL ":\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp, #0]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\n"
    "stp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\nstp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
    "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp, #0]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\n"
    "ldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\nldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\nret\n");
static inline void* emu_new_stack(char* top, void (*run)()) {
    void** sp = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t(15)) - 20;
    for (int i = 0; i < 20; ++i) sp[i] = nullptr;
    sp[11] = reinterpret_cast<void*>(run); // x30
    return sp;
}
#else
#error "the emulator has no switch of stacks for this machine"
#endif
