/* What generated code and the runtime agree on. Plain C; the compiler emits
 * these structs as data and calls these functions, so sizes are asserted and
 * any change of meaning raises MOERT_ABI_MAJOR. Users include moe_runtime.h
 * instead. */
#ifndef MOE_RUNTIME_IRINTERFACE_H
#define MOE_RUNTIME_IRINTERFACE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOERT_MAGIC 0x54524f4du /* "MORT" */
#define MOERT_ABI_MAJOR 1u
#define MOERT_ABI_MINOR 6u
#define MOERT_MAX_RANK 8

/* Element types carry ONNX's numbers (TensorProto.DataType). */
enum {
  MOERT_F32 = 1,
  MOERT_U8 = 2,
  MOERT_I8 = 3,
  MOERT_U16 = 4,
  MOERT_I16 = 5,
  MOERT_I32 = 6,
  MOERT_I64 = 7,
  MOERT_BOOL = 9, /* one byte per element, 0 or 1 */
  MOERT_F16 = 10,
  MOERT_F64 = 11,
  MOERT_U32 = 12,
  MOERT_U64 = 13,
  MOERT_BF16 = 16
};

/* Codes for moert_fail: those of moe_status in moe_runtime.h that generated
 * code has use for. */
enum {
  MOERT_INVALID_ARGUMENT = 1, /* values of the inputs do not fit together */
  MOERT_UNSUPPORTED = 4,
  MOERT_OUT_OF_MEMORY = 5,
  MOERT_MODEL_FAILED = 7, /* e.g. NaN router logits */
  MOERT_INTERNAL = 8      /* a check of ours that can never fail, did */
};

/* A dense row-major tensor. Inputs belong to the caller. Output data lies in
 * the session's arena (or aliases an input or a weight) until the next run. */
typedef struct {
  void *data;
  int32_t dtype;
  int32_t rank;
  int64_t shape[MOERT_MAX_RANK];
} moert_tensor;

/* One input or output of the model. `dims[i]` is -1 where dynamic; then
 * `dim_names[i]` is its symbol ("batch"), or "" where it has none. Inputs with
 * equal symbols must agree. */
typedef struct {
  const char *name;
  int32_t dtype;
  int32_t rank;
  const int64_t *dims;
  const char *const *dim_names;
} moert_port;

/* A kernel of a device: the shape of its blocks. Those called
 * moe_sample_parts_TYPE and moe_sample_choose_TYPE (f32, bf16, f16) choose
 * tokens (codegen/CUDA/SampleKernels.h); the runtime finds them by name. */
typedef struct {
  const char *name;
  uint32_t threads;      /* of a block */
  uint32_t shared_bytes; /* dynamic */
  /* Where not 0, the kernel takes the tensor map of its matrix for the pointer:
   * boxes of so many rows by 64 numbers. */
  uint32_t map_rows;
  uint32_t reserved;
} moert_device_kernel;

/* The kernels of a pool of experts, in this order; those that it has no use for
 * have no name. One matrix alone has ROUND, those of `down`, and FINISH. */
enum {
  MOERT_KERNEL_PREPARE = 0,   /* sorts choices, rounds inputs */
  MOERT_KERNEL_ROUND = 1,     /* of one matrix */
  MOERT_KERNEL_DECODE_UP = 2, /* few tokens */
  MOERT_KERNEL_DECODE_DOWN = 3,
  MOERT_KERNEL_GROUPED_UP = 4, /* more than few */
  MOERT_KERNEL_GROUPED_DOWN = 5,
  MOERT_KERNEL_COMBINE = 6,
  MOERT_KERNEL_FINISH = 7,        /* of one matrix */
  MOERT_KERNEL_DECODE_UP_LOW = 8, /* of low factors */
  MOERT_KERNEL_GROUPED_UP_LOW = 9,
  MOERT_KERNEL_DECODE_DOWN_LOW = 10,
  MOERT_KERNEL_GROUPED_DOWN_LOW = 11,
  MOERT_NUM_KERNELS = 12
};

/* The matrix of an expert: in the model as the processor wants it, in panels of
 * panel_width columns, gated ones with the gate in the first half of each; on
 * the device as kernels want it (runtime/Device/PackRows.h, CodedRows.h). */
typedef struct {
  int64_t rows, depth;   /* gated: as many rows follow those of the gate */
  int64_t tiles;         /* of 16 rows, on the device */
  int64_t padded_depth;  /* of a row there, and of what it is multiplied by */
  int64_t block;         /* numbers of a coded row to a scale; 0: all */
  int32_t element;       /* type of plain numbers in the model; 0: coded */
  int32_t coding, scale; /* of coded rows: RowCoding, RowScale */
  int32_t has_zeros;
  int32_t bias; /* element type of its biases; 0: none */
  int32_t is_gated;
} moert_device_matrix;

/* Pools of one shape: experts W2 act(W1 x + b1) + b2, all of the same size; or
 * one matrix W2 alone, whose `up` has no rows. A matrix may come in two
 * factors: the depth of `up` is then the rows of `up_low`, which has none
 * otherwise. */
typedef struct {
  int64_t experts;
  int64_t top_k;   /* ids of a token */
  int64_t entries; /* ids are below it */
  int32_t panel_width;
  int32_t element_bytes; /* of plain rows, rounded inputs and hidden values */
  moert_device_matrix up, down, up_low, down_low;
  int32_t scales_input; /* weights multiply what experts read */
  int32_t reserved;
  moert_device_kernel kernels[MOERT_NUM_KERNELS];
} moert_device_pool;

/* Where the parts of a matrix begin in the model's weights, those of all
 * experts of a layer; those that it does not have: 0. */
typedef struct {
  uint64_t values, scales, zeros, bias;
} moert_device_place;

/* A layer of experts. */
typedef struct {
  moert_device_place up, down, up_low, down_low;
  /* [entries]: the expert of an id, or -1. */
  const int32_t *entries;
  uint32_t pool;
  uint32_t reserved;
} moert_device_layer;

/* What moert_device_constant is called with: `bytes` bytes at `data`, or, where
 * that is null, at `place` of the model's weights. */
typedef struct {
  const void *data;
  uint64_t place;
  uint64_t bytes;
} moert_device_known;

/* What opens a device; see runtime/Core/Offload.h. */
typedef struct moert_device_runtime moert_device_runtime;

/* Code for a device (since 1.6; that of earlier versions is not looked at). */
typedef struct {
  const char *architecture; /* "sm_90a" */
  const char *ptx;          /* text, with a final zero */
  uint32_t num_pools;
  uint32_t num_layers;
  const moert_device_pool *pools;
  const moert_device_layer *layers;
  uint32_t num_kernels; /* others than those of pools */
  uint32_t reserved;
  const moert_device_kernel *kernels;
  /* Named by the model, so that others are linked without it. */
  const moert_device_runtime *runtime;
  const void *cubin; /* what `ptx` becomes on `architecture`; null: not there */
  uint64_t cubin_bytes;
  const moert_device_known *constants; /* all that is known beforehand */
  uint32_t num_constants;
  uint32_t reserved2;
  const char *const *layer_names; /* of [num_layers]; for people */
} moert_device_code;

/* What a compiled model exports, under the symbol `moert_model_descriptor`. */
typedef struct {
  uint32_t magic;     /* MOERT_MAGIC */
  uint16_t abi_major; /* refused when newer than ours */
  uint16_t abi_minor;
  const char *name;
  const char *manifest;     /* JSON: layers, experts, parameters, bytes, ... */
  const char *cpu_features; /* "avx512f,avx512vl,...": checked at start */
  uint32_t num_inputs;
  uint32_t num_outputs;
  const moert_port *inputs;
  const moert_port *outputs;
  uint64_t weights_size;     /* bytes of packed weights */
  const char **weights_slot; /* the runtime stores the base address here */
  /* Fills `outputs[i]` (data, shape). Shapes and types of inputs have been
   * checked. Failures do not return: see moert_fail. */
  void (*run)(const moert_tensor *inputs, moert_tensor *outputs);
  const moert_device_code *device; /* since 1.4; null: processor alone */
} moert_model;

/* --- functions that generated code may call --- */

/* Scratch memory of the current run, 64-byte aligned; main thread only. Sizes
 * that overflow or cannot be had end the run. */
void *moert_alloc(int64_t bytes);
void moert_free(void *data);

/* Room for rows behind those of an input, as for keys and values (since 1.1).
 * `past` is the data of input number `input`: `blocks` blocks of `rows` rows of
 * `row_bytes` bytes. Returns `blocks` blocks of `*capacity` rows, `*capacity`
 * at least rows + fresh, that begin with the rows of `past`; the `fresh` rows
 * behind them are the caller's to write. The first rows + fresh rows of each
 * block are output number `output`, whose data is the address returned.
 *
 * Where the session feeds that output back to that input, rows stay in place
 * from run to run; then neither is dense, which the runtime knows and the
 * caller must: it reads the past nowhere else. Elsewhere `*capacity` is
 * rows + fresh. Main thread only, once for each output. */
void *moert_append(int32_t input, int32_t output, const void *past,
                   int64_t blocks, int64_t rows, int64_t fresh,
                   int64_t row_bytes, int64_t *capacity);

/* Calls body(arg, begin, end) over disjoint ranges that cover [0, n); runs
 * inline when n <= grain. `begin` is always a multiple of `grain`. The ranges
 * depend on n and grain only, never on the number of threads. Not nestable. */
void moert_parallel_for(int64_t n, int64_t grain,
                        void (*body)(void *arg, int64_t begin, int64_t end),
                        void *arg);

/* Per-thread scratch of at least `bytes`, 64-byte aligned, valid until the
 * calling body returns; contents are undefined on entry. Any thread. */
void *moert_scratch(int64_t bytes);

/* Ends the run with an error: `code` is a moe_status, `message` a static
 * string that may hold one %lld for `value` and one %s for `where`. On the
 * thread that called `run` it does not return; inside a parallel region it
 * returns, the region finishes, and then the run ends. So code after it must
 * stay in bounds. */
void moert_fail(int32_t code, const char *message, const char *where,
                int64_t value);

/* What moert_measure adds up (since 1.2), and the values that it takes. Ids are
 * I32, all others floats. */
enum {
  MOERT_CHOICE = 0,          /* ids [T, k], perhaps weights [T, k] */
  MOERT_LOGITS = 1,          /* logits [T, experts] */
  MOERT_INPUTS = 2,          /* inputs [T, H], ids [T, k] */
  MOERT_INPUT_GRAM = 3,      /* inputs [T, H] */
  MOERT_SUBLAYER_COSINE = 4, /* before and after [..., H] */
  MOERT_BLOCK_COSINE = 5,    /* before and after [..., H] */
  MOERT_OUTPUTS = 6          /* outputs [..., H] */
};

/* What logits become over all experts, for MOERT_LOGITS. */
enum { MOERT_SCORE_NONE = 0, MOERT_SCORE_SOFTMAX = 1, MOERT_SCORE_SIGMOID = 2 };

/* Adds `count` values to the record of a layer, for --profile (since 1.2); ids
 * outside [0, experts) are ignored. Reads only; main thread only. Costs one
 * predictable branch when off. */
void moert_measure(const char *layer, int32_t measure, int32_t score,
                   int64_t experts, const moert_tensor *values, int32_t count);

/* --- the device (since 1.4); main thread only. What fails ends the run. --- */

/* Whether this run has one; without, none of what follows may be called. */
int32_t moert_on_device(void);

/* Memory of the device, until it is given back or the run ends. Only what
 * follows may touch it. */
void *moert_device_alloc(int64_t bytes);
void moert_device_free(void *memory);
/* The device's copy of `data`, which never changes; kept with the model. */
void *moert_device_constant(const void *data, int64_t bytes);
/* `to` and `from` are whole memories of moert_device_alloc. When a download
 * returns the bytes are there, and all that was asked before has ended. */
void moert_device_upload(void *to, const void *from, int64_t bytes);
void moert_device_download(void *to, const void *from, int64_t bytes);
/* moert_append on the device (since 1.5): `past` is the processor's, or what
 * moert_device_present gave for the output that is fed back; the rows are in
 * memory of the device until the run ends, or, where the session feeds the
 * output back, as long as it does. */
void *moert_device_append(int32_t input, int32_t output, const void *past,
                          int64_t blocks, int64_t rows, int64_t fresh,
                          int64_t row_bytes, int64_t *capacity);
/* The data of an output whose `bytes` bytes are in memory of the device, which
 * nothing writes any more (since 1.5): only the session may look at it, who has
 * them copied when they are wanted. Where the session keeps a cache for its
 * next run, it is an address for moert_device_append and nothing else. */
void *moert_device_present(const void *memory, int64_t bytes);
/* Launches a kernel of moert_device_code; `arguments[i]` points to the value of
 * parameter i. */
void moert_device_launch(int32_t kernel, void **arguments);
/* Launches the kernels of a layer: out[t] = sum_j weights[t, j] expert(ids[t,
 * j])(x[t]) (+ residual[t]), with x [rows, inputs], ids and weights [rows,
 * top_k], out and residual (may be null, or out) [rows, outputs]; without ids
 * and weights the layer is one matrix. */
void moert_device_rows(int32_t layer, int64_t rows, const void *x,
                       const void *ids, const void *weights,
                       const void *residual, void *out);

/* The expert counts alone, of code that was compiled before 1.2: `ids` holds n
 * chosen experts. */
void moert_observe(const char *layer, const int32_t *ids, int64_t n,
                   int64_t experts);

/* Phase marks for --trace and --profile; `name` is static. */
void moert_phase_begin(const char *name);
void moert_phase_end(void);

#ifdef __cplusplus
}
static_assert(sizeof(void *) == 8, "64-bit targets only");
static_assert(sizeof(moert_tensor) == 80, "emitted by the compiler");
static_assert(sizeof(moert_port) == 32, "emitted by the compiler");
static_assert(sizeof(moert_model) == 88, "emitted by the compiler");
static_assert(sizeof(moert_device_kernel) == 24, "emitted by the compiler");
static_assert(sizeof(moert_device_matrix) == 64, "emitted by the compiler");
static_assert(sizeof(moert_device_pool) == 584, "emitted by the compiler");
static_assert(sizeof(moert_device_layer) == 144, "emitted by the compiler");
static_assert(sizeof(moert_device_known) == 24, "emitted by the compiler");
static_assert(sizeof(moert_device_code) == 104, "emitted by the compiler");
#endif

#endif /* MOE_RUNTIME_IRINTERFACE_H */
