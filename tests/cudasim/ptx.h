/* ptx.h - PTX as the interpreter holds it: a list of instructions over numbered registers. */
#pragma once
#include <cuda_runtime_api.h>

#include "tests/cudasim/sim.h"

typedef enum ptx_kind { PTX_NONE, PTX_BITS, PTX_UNSIGNED, PTX_SIGNED, PTX_FLOAT, PTX_HALF, PTX_BFLOAT, PTX_PREDICATE } ptx_kind;

typedef struct ptx_type {
    uint8_t kind, bytes; /* of one lane */
    uint8_t lanes;       /* 2: f16x2, bf16x2 */
} ptx_type;

static inline int ptx_width(ptx_type t) { return t.bytes * t.lanes; }
static inline bool ptx_is_float(ptx_type t) { return t.kind == PTX_FLOAT || t.kind == PTX_HALF || t.kind == PTX_BFLOAT; }

/* clang-format off */
#define PTX_OPS(X) \
    X(MOV, "mov") X(LD, "ld") X(ST, "st") X(ADD, "add") X(SUB, "sub") X(MUL, "mul") \
    X(MAD, "mad") X(FMA, "fma") X(DIV, "div") X(REM, "rem") X(MIN, "min") X(MAX, "max") \
    X(ABS, "abs") X(NEG, "neg") X(SETP, "setp") X(SET, "set") X(SELP, "selp") X(AND, "and") \
    X(OR, "or") X(XOR, "xor") X(NOT, "not") X(SHL, "shl") X(SHR, "shr") X(SHF, "shf") \
    X(LOP3, "lop3") X(CVT, "cvt") X(CVTA, "cvta") X(BRA, "bra") X(BRX, "brx") X(BAR, "bar") \
    X(BARRIER, "barrier") X(SHFL, "shfl") X(VOTE, "vote") X(MATCH, "match") X(REDUX, "redux") X(ACTIVEMASK, "activemask") \
    X(ATOM, "atom") X(RED, "red") X(EX2, "ex2") X(LG2, "lg2") X(RCP, "rcp") X(RSQRT, "rsqrt") \
    X(SQRT, "sqrt") X(SIN, "sin") X(COS, "cos") X(TANH, "tanh") X(COPYSIGN, "copysign") X(TESTP, "testp") \
    X(PRMT, "prmt") X(BFE, "bfe") X(BFI, "bfi") X(BMSK, "bmsk") X(BFIND, "bfind") X(POPC, "popc") \
    X(CLZ, "clz") X(BREV, "brev") X(RET, "ret") X(EXIT, "exit") X(TRAP, "trap") X(MEMBAR, "membar") \
    X(FENCE, "fence") X(PREFETCH, "prefetch") X(NANOSLEEP, "nanosleep")
/* clang-format on */

typedef enum ptx_op {
#define PTX_ENUM(name, text) PTX_##name,
    PTX_OPS(PTX_ENUM)
#undef PTX_ENUM
        PTX_N_OPS
} ptx_op;

extern const char *const ptx_op_names[PTX_N_OPS];

typedef enum ptx_space { PTX_GENERIC, PTX_GLOBAL, PTX_SHARED, PTX_LOCAL, PTX_PARAM } ptx_space;

/** The second word of atom, red, redux, shfl, vote, bar.red; of setp and set the comparison. */
typedef enum ptx_variant {
    PTX_V_NONE,
    PTX_V_ADD,
    PTX_V_EXCH,
    PTX_V_CAS,
    PTX_V_MIN,
    PTX_V_MAX,
    PTX_V_AND,
    PTX_V_OR,
    PTX_V_XOR,
    PTX_V_INC,
    PTX_V_DEC,
    PTX_V_UP,
    PTX_V_DOWN,
    PTX_V_BFLY,
    PTX_V_IDX,
    PTX_V_ANY,
    PTX_V_ALL,
    PTX_V_BALLOT,
    PTX_V_UNI,
    PTX_V_POPC,
    PTX_V_EQ,
    PTX_V_NE,
    PTX_V_LT,
    PTX_V_LE,
    PTX_V_GT,
    PTX_V_GE,
    PTX_V_LO,
    PTX_V_LS,
    PTX_V_HI,
    PTX_V_HS,
    PTX_V_EQU,
    PTX_V_NEU,
    PTX_V_LTU,
    PTX_V_LEU,
    PTX_V_GTU,
    PTX_V_GEU,
    PTX_V_NUM,
    PTX_V_NAN,
    PTX_V_FINITE,
    PTX_V_INFINITE,
    PTX_V_NUMBER,
    PTX_V_NOTANUMBER,
    PTX_V_NORMAL,
    PTX_V_SUBNORMAL
} ptx_variant;

typedef enum ptx_flag {
    PTX_WIDE = 1 << 0,
    PTX_HIGH = 1 << 1,
    PTX_SATURATE = 1 << 2,
    PTX_FTZ = 1 << 3,
    PTX_TO = 1 << 4,  /* cvta.to, bfind.shiftamt */
    PTX_NAN = 1 << 5, /* min, max let NaN through */
    PTX_WRAP = 1 << 6,
    PTX_RIGHT = 1 << 7,
    PTX_WARP = 1 << 8,    /* bar.warp */
    PTX_REDUCE = 1 << 9,  /* bar.red */
    PTX_ATOMIC = 1 << 10, /* ld, st: volatile, relaxed, acquire, release */
    PTX_RELU = 1 << 11
} ptx_flag;

typedef enum ptx_operand_kind { PTX_O_NONE, PTX_O_REGISTER, PTX_O_NUMBER, PTX_O_SPECIAL } ptx_operand_kind;

/** Of an address: the register (if any) plus the number. */
typedef struct ptx_operand {
    uint8_t kind;
    bool negated; /* a predicate with ! */
    int32_t reg;
    uint64_t number;
} ptx_operand;

enum { PTX_MAX_TO = 4, PTX_MAX_FROM = 5 };

typedef struct ptx_instruction {
    uint8_t op, space, variant, combine /* of setp: 'a'nd, 'o'r, 'x'or, or 0 */, rounding, vector, n_to, n_from;
    ptx_type type, from_type;
    uint16_t flags;
    bool guard_negated;
    int32_t guard;        /* predicate register, or -1 */
    int32_t target, line; /* BRA: instruction; BRX: table */
    ptx_operand to[PTX_MAX_TO], from[PTX_MAX_FROM];
} ptx_instruction;

/** %tid.x ... by number. */
typedef enum ptx_special {
    PTX_TID_X,
    PTX_TID_Y,
    PTX_TID_Z,
    PTX_NTID_X,
    PTX_NTID_Y,
    PTX_NTID_Z,
    PTX_CTAID_X,
    PTX_CTAID_Y,
    PTX_CTAID_Z,
    PTX_NCTAID_X,
    PTX_NCTAID_Y,
    PTX_NCTAID_Z,
    PTX_LANEID,
    PTX_WARPID,
    PTX_LANEMASK_LT,
    PTX_LANEMASK_EQ,
    PTX_LANEMASK_LE,
    PTX_LANEMASK_GE,
    PTX_LANEMASK_GT,
    PTX_CLOCK64,
    PTX_N_SPECIALS
} ptx_special;

extern const char *const ptx_special_names[PTX_N_SPECIALS];

enum { PTX_MAX_PARAMS = 128, PTX_PARAM_BYTES = 4096 };

typedef struct ptx_table {
    int32_t *targets;
    int n;
} ptx_table;

struct ptx_program {
    ptx_instruction *code;
    int n, n_registers;
    uint32_t shared_bytes, local_bytes;
    bool dynamic_shared; /* has an array whose size the launch tells, behind the others */
    int n_params;
    uint32_t param_offset[PTX_MAX_PARAMS], param_bytes[PTX_MAX_PARAMS], params_bytes;
    uint32_t max_threads; /* .maxntid, 0 when not given */
    ptx_table *tables;
    int n_tables;
};

/* Generic addresses of shared and local memory lie in windows that no allocation reaches. */
#define PTX_SHARED_WINDOW ((uint64_t)0x100000000000)
#define PTX_LOCAL_WINDOW  ((uint64_t)0x200000000000)
#define PTX_WINDOW_BYTES  ((uint64_t)1 << 24)

/* ptx_parse.c */
ptx_program *ptx_parse(const char *kernel, const char *module);
/** Makes the module's .global and .const variables, in device memory. */
void ptx_module_variables(const char *module);
uint64_t ptx_variable(const char *name, const char *module, uint64_t *n_bytes); /* 0: none of that name; module NULL: any */

/* ptx_math.c: values are the bits of their type in a uint64_t, the rest zero */
uint64_t ptx_cut(uint64_t value, int n_bytes);
int64_t ptx_signed(uint64_t value, int n_bytes);
uint64_t ptx_arithmetic(const ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c); /* add sub mul mad fma div rem min max */
uint64_t ptx_unary(const ptx_instruction *i, uint64_t a, uint64_t b);                  /* abs neg ex2 ... brev */
uint64_t ptx_bits(const ptx_instruction *i, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
uint64_t ptx_convert(const ptx_instruction *i, uint64_t a, uint64_t b);
bool ptx_compare(ptx_variant how, ptx_type type, uint64_t a, uint64_t b);
uint64_t ptx_set(const ptx_instruction *i, uint64_t a, uint64_t b);
uint64_t ptx_reduce(ptx_variant how, ptx_type type, uint64_t a, uint64_t b); /* of atomics and redux, but exch, cas, inc, dec */
double ptx_to_double(uint64_t bits, ptx_type lane);
uint64_t ptx_from_double(double value, ptx_type lane);

/* ptx_run.c */
void ptx_run(sim_kernel *kernel, dim3 grid, dim3 block, size_t dynamic_bytes, const uint8_t *params);
