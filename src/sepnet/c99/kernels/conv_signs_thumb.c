/* Thumb code of two routines of the convolution by signs; compilers keep too few of their numbers in registers. */
#if MODEL_THUMB
#if defined(__thumb2__)
/* r0 table, r1 and r2 numbers, r3 groups left, lr bytes from a subset to the next, r12 sum of all. */
__asm__(".syntax unified\n .section .text.model_subset_sums, \"ax\", %progbits\n .balign 4\n .thumb\n .thumb_func\n"
        ".global model_subset_sums\n .type model_subset_sums, %function\n"
        "model_subset_sums:\n"
        "push {r4, r5, r6, r7, r8, r9, r10, lr}\n ldr lr, [sp, #32]\n mov r12, #0\n mov r10, #0\n cmp r3, #0\n beq 2f\n"
        "1:\n"
        "ldrb r4, [r1]\n ldrb r8, [r2]\n orr r4, r4, r8, lsl #16\n"
        "ldrb r5, [r1, #1]\n ldrb r8, [r2, #1]\n orr r5, r5, r8, lsl #16\n"
        "ldrb r6, [r1, #2]\n ldrb r8, [r2, #2]\n orr r6, r6, r8, lsl #16\n"
        "ldrb r7, [r1, #3]\n ldrb r8, [r2, #3]\n orr r7, r7, r8, lsl #16\n"
        "adds r1, r1, #4\n adds r2, r2, #4\n"
        "str r10, [r0]\n str r4, [r0, lr]\n str r5, [r0, lr, lsl #1]\n str r6, [r0, lr, lsl #2]\n str r7, [r0, lr, lsl #3]\n"
        "add r9, r0, lr\n add r8, r4, r5\n str r8, [r9, lr, lsl #1]\n" /* 3 = 1 + 2 */
        "add r8, r4, r6\n str r8, [r9, lr, lsl #2]\n" /* 5 */
        "add r8, r4, r7\n str r8, [r9, lr, lsl #3]\n" /* 9 */
        "add r9, r9, lr\n add r8, r5, r6\n str r8, [r9, lr, lsl #2]\n" /* 6 */
        "add r8, r5, r7\n str r8, [r9, lr, lsl #3]\n" /* 10 */
        "add r9, r9, lr\n add r5, r5, r4\n add r8, r5, r6\n str r8, [r9, lr, lsl #2]\n" /* 7 */
        "add r8, r5, r7\n str r8, [r9, lr, lsl #3]\n" /* 11 */
        "add r9, r9, lr\n add r6, r6, r7\n str r6, [r9, lr, lsl #3]\n" /* 12 */
        "add r9, r9, lr\n add r8, r6, r4\n str r8, [r9, lr, lsl #3]\n" /* 13 */
        "add r9, r9, lr\n subs r7, r5, r4\n add r7, r7, r6\n str r7, [r9, lr, lsl #3]\n" /* 14 */
        "add r9, r9, lr\n add r6, r6, r5\n str r6, [r9, lr, lsl #3]\n" /* 15 */
        "add r12, r12, r6\n add r0, r0, lr, lsl #4\n subs r3, r3, #1\n bne 1b\n"
        "2:\n"
        "mov r0, r12\n pop {r4, r5, r6, r7, r8, r9, r10, pc}\n"
        ".size model_subset_sums, . - model_subset_sums\n .text\n");
#else
/* r0 table, r1 and r2 numbers, r3 bytes from a subset to the next, r12 groups left, r8 sum of all.  r4 to r7 are what is added
 * from one subset to the next: a number, less those before it. */
#define NUMBER(to, at) "ldrb " to ", [r1, #" at "]\n ldrb r3, [r2, #" at "]\n lsls r3, r3, #16\n orrs " to ", r3\n"
#define TWO(more) more "str r2, [r0]\n adds r2, r2, r4\n str r2, [r0, r3]\n add r0, r9\n"
__asm__(".syntax unified\n .section .text.model_subset_sums, \"ax\", %progbits\n .balign 4\n .thumb\n .thumb_func\n"
        ".global model_subset_sums\n .type model_subset_sums, %function\n"
        "model_subset_sums:\n"
        "push {r4, r5, r6, r7, lr}\n mov r4, r8\n mov r5, r9\n mov r6, r10\n push {r4, r5, r6}\n"
        "ldr r4, [sp, #32]\n mov r10, r4\n lsls r4, r4, #1\n mov r9, r4\n movs r4, #0\n mov r8, r4\n mov r12, r3\n"
        "cmp r3, #0\n beq 2f\n"
        "1:\n"
        NUMBER("r4", "0") NUMBER("r5", "1") NUMBER("r6", "2") NUMBER("r7", "3")
        "adds r1, r1, #4\n adds r2, r2, #4\n push {r2}\n mov r3, r10\n"
        "adds r2, r4, r5\n subs r5, r5, r4\n subs r7, r7, r6\n subs r7, r7, r2\n subs r6, r6, r2\n movs r2, #0\n"
        TWO("") TWO("adds r2, r2, r5\n") TWO("adds r2, r2, r6\n") TWO("adds r2, r2, r5\n")
        TWO("adds r2, r2, r7\n") TWO("adds r2, r2, r5\n") TWO("adds r2, r2, r6\n") TWO("adds r2, r2, r5\n")
        "add r8, r2\n pop {r2}\n mov r3, r12\n subs r3, r3, #1\n mov r12, r3\n bne 1b\n"
        "2:\n"
        "mov r0, r8\n pop {r4, r5, r6}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n pop {r4, r5, r6, r7, pc}\n"
        ".size model_subset_sums, . - model_subset_sums\n .text\n");
#undef NUMBER
#undef TWO
#endif

#if defined(__thumb2__)
#define LOW "and r4, r3, #15\n mla r4, r4, r2, r0\n"
#define HIGH "lsr r4, r3, #4\n mla r4, r4, r2, r0\n"
#else
#define LOW "lsls r4, r3, #28\n lsrs r4, r4, #28\n muls r4, r2, r4\n adds r4, r4, r0\n"
#define HIGH "lsrs r4, r3, #4\n muls r4, r2, r4\n adds r4, r4, r0\n"
#endif
#define ADD_FOUR "ldmia r4, {r4, r5, r6, r7}\n add r8, r4\n add r9, r5\n add r10, r6\n add r11, r7\n"
#define NEXT_GROUP "lsls r4, r2, #4\n adds r0, r0, r4\n"
/* r0 table, r1 signs, r2 bytes from a subset to the next, r12 and lr shifts, r8 to r11 sums; on the stack where the filter's
 * signs end, then table, bytes, filters, 4 * hop, sums. */
__asm__(".syntax unified\n .section .text.model_look_up_3, \"ax\", %progbits\n .balign 4\n .thumb\n .thumb_func\n"
        ".global model_look_up_3\n .type model_look_up_3, %function\n"
        "model_look_up_3:\n"
        "push {r4, r5, r6, r7, lr}\n mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n push {r4, r5, r6, r7}\n"
        "sub sp, #24\n mov r7, r0\n ldmia r7!, {r0, r1, r2, r3, r4, r5, r6}\n"
        "str r0, [sp, #4]\n str r2, [sp, #8]\n str r6, [sp, #12]\n lsls r2, r3, #2\n"
        "lsls r4, r4, #2\n mov r12, r4\n lsls r5, r5, #2\n mov lr, r5\n"
        "ldmia r7!, {r3, r4}\n lsls r3, r3, #2\n str r3, [sp, #16]\n str r4, [sp, #20]\n"
        "1:\n"
        "ldr r3, [sp, #8]\n adds r3, r3, r1\n str r3, [sp]\n ldr r0, [sp, #4]\n"
        "ldr r3, [sp, #20]\n ldmia r3!, {r4, r5, r6, r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
        "2:\n"
        "ldrb r3, [r1]\n"
        LOW ADD_FOUR
        HIGH "add r4, r12\n" ADD_FOUR
        "ldrb r3, [r1, #1]\n"
        LOW "add r4, lr\n" ADD_FOUR
        NEXT_GROUP
        HIGH ADD_FOUR
        "ldrb r3, [r1, #2]\n"
        LOW "add r4, r12\n" ADD_FOUR
        HIGH "add r4, lr\n" ADD_FOUR
        NEXT_GROUP
        "adds r1, r1, #3\n ldr r4, [sp]\n cmp r1, r4\n bne 2b\n"
        "ldr r3, [sp, #20]\n ldr r0, [sp, #16]\n adds r0, r0, r3\n str r0, [sp, #20]\n"
        "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n stmia r3!, {r4, r5, r6, r7}\n"
        "ldr r3, [sp, #12]\n subs r3, r3, #1\n str r3, [sp, #12]\n bne 1b\n"
        "add sp, #24\n pop {r4, r5, r6, r7}\n mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
        "pop {r4, r5, r6, r7, pc}\n"
        ".size model_look_up_3, . - model_look_up_3\n .text\n");
#endif
