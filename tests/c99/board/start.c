/* Starts a bare Cortex-M board, counts instructions with SysTick, and talks to the host through semihosting.
 * QEMU with -icount shift=0 lets an instruction last one nanosecond; a tick of the board's 25 MHz clock lasts 40 of them. */
#include <stdint.h>
#include <string.h>

#include "model.h"

extern const uint8_t board_images[];
extern const int board_count;
extern uint32_t stack_end, data_from, data_start, data_end, bss_start, bss_end;
int main(void);
void start(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {&stack_end, (const void *)start};

static int host_call(int number, const void *argument)
{
    register int code __asm__("r0") = number;
    register const void *rest __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xab" : "+r"(code) : "r"(rest) : "memory");
    return code;
}

static void print_number(const char *name, long number)
{
    char text[64], digits[12];
    int at = (int)strlen(name), count = 0;
    unsigned long rest = number < 0 ? (unsigned long)-number : (unsigned long)number;

    memcpy(text, name, (size_t)at);
    if (number < 0)
        text[at++] = '-';
    do
        digits[count++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (count)
        text[at++] = digits[--count];
    text[at++] = '\n';
    text[at] = 0;
    host_call(4, text);
}

#define SYSTICK ((volatile uint32_t *)0xe000e010)

void start(void)
{
    memcpy(&data_start, &data_from, (size_t)((char *)&data_end - (char *)&data_start));
    memset(&bss_start, 0, (size_t)((char *)&bss_end - (char *)&bss_start));
    main();
    host_call(0x18, (const void *)0x20026);
}

int main(void)
{
    static uint32_t *stack;
    int image, at;

    SYSTICK[1] = 0xffffff;
    SYSTICK[0] = 5;
    for (image = 0; image < board_count; image++) {
        uint32_t begin, end;
        uint32_t here;

        for (stack = &bss_end; stack < &here - 16; stack++)
            *stack = 0xa5a5a5a5;
        memcpy(model_input(), board_images + image * MODEL_INPUT_BYTES, MODEL_INPUT_BYTES);
        SYSTICK[2] = 0;
        begin = SYSTICK[2];
        model_run();
        end = SYSTICK[2];
        for (stack = &bss_end; *stack == 0xa5a5a5a5; stack++)
            ;
        print_number("instructions ", (long)((begin - end) & 0xffffff) * 40);
        print_number("stack ", (long)((char *)&here - (char *)stack));
        for (at = 0; at < MODEL_OUTPUTS; at++)
            print_number("output ", model_output(at));
    }
    return 0;
}
