/* Runs models compiled by moe-opt. The only installed header; plain C.
 *
 * A model library (`moe-opt model.onnx -o model.so`) carries its own runtime
 * and exports one function, moe_model_api(), also under the name
 * moe_<model>_api() so that several models can be linked into one program. It
 * returns a table of functions; everything else goes through that table:
 *
 *   const moe_api *moe = moe_model_api(MOE_API_MAJOR);
 *   moe_session *session;
 *   if (!moe || moe->session_create(NULL, &session) != MOE_OK) ...
 *   moe->set_input(session, "input_ids", &ids);
 *   moe->run(session);
 *   moe->get_output(session, "logits", &logits);
 *   moe->session_destroy(session);
 *
 * Versions. A table of another major version is never handed out: then
 * moe_model_api() returns NULL. A newer minor version only appends fields, so
 * a program may use a field after checking that `size` reaches it.
 *
 * Threads. A model may be used by many threads at once; a session by one
 * thread at a time (which may change between calls). Sessions share only the
 * weights. Error texts belong to the calling thread.
 *
 * Ownership. Tensors are described, never owned: input data stays the caller's
 * and is read during run(); it must live until then. Output data is the
 * session's and lives until the session's next run(), reset() or destroy().
 * Strings belong to the model and live as long as it is loaded. */
#ifndef MOE_RUNTIME_MOE_RUNTIME_H
#define MOE_RUNTIME_MOE_RUNTIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MOE_API_MAJOR 1u
#define MOE_API_MINOR 4u
#define MOE_MAX_RANK 8

/* What came of a call. moe_api.error() says it in words. */
typedef enum moe_status {
  MOE_OK = 0,
  MOE_INVALID_ARGUMENT = 1, /* names, types, shapes, values of the caller */
  MOE_NOT_FOUND = 2,        /* no such file, input or output */
  MOE_INVALID_FILE = 3,     /* damaged, or not what it should be */
  MOE_UNSUPPORTED = 4,      /* valid, but not on this machine or version */
  MOE_OUT_OF_MEMORY = 5,
  MOE_IO = 6,
  MOE_MODEL_FAILED = 7, /* the model refused its data, e.g. NaN in a router */
  MOE_INTERNAL = 8      /* our fault: please report */
} moe_status;

/* Element types, numbered as in ONNX (TensorProto.DataType). */
typedef enum moe_dtype {
  MOE_F32 = 1,
  MOE_U8 = 2,
  MOE_I8 = 3,
  MOE_U16 = 4,
  MOE_I16 = 5,
  MOE_I32 = 6,
  MOE_I64 = 7,
  MOE_BOOL = 9, /* one byte, 0 or 1 */
  MOE_F16 = 10,
  MOE_F64 = 11,
  MOE_U32 = 12,
  MOE_U64 = 13,
  MOE_BF16 = 16
} moe_dtype;

/* A dense row-major tensor; `data` may be NULL when it has no elements. */
typedef struct moe_tensor {
  void *data;
  int32_t dtype; /* a moe_dtype */
  int32_t rank;
  int64_t shape[MOE_MAX_RANK];
} moe_tensor;

/* An input or output. `dims[i]` is -1 where the size is free; `dim_names[i]` is
 * then its symbol ("batch"), or "" where it has none. Inputs that share a
 * symbol must agree on the size. */
typedef struct moe_port {
  const char *name;
  int32_t dtype;
  int32_t rank;
  const int64_t *dims;
  const char *const *dim_names;
} moe_port;

typedef struct moe_session moe_session;

/* Set `size` to sizeof(moe_session_options) and zero the rest for defaults. */
typedef struct moe_session_options {
  uint32_t size;
  int32_t threads;        /* 0: every processor of the affinity mask */
  int32_t record_experts; /* not 0: count choices, measure what is observed */
  int32_t record_phases;  /* not 0: keep begin and end of every phase */
  uint64_t memory_limit;  /* bytes of scratch; 0: the machine's memory */
  uint64_t sample_seed;   /* of the samples of layer inputs (since 1.1) */
  /* Where layers run that have code for it: "cpu", "cuda", "cuda:1", or "auto"
   * (and NULL): a GPU where there is one, else the processor. What was asked
   * for and cannot be had is an error (since 1.2). */
  const char *device;
  /* The library of the CUDA driver; NULL: the system's (since 1.2). */
  const char *cuda_driver;
  /* Where not NULL, told how many bytes of the weights lie on the device: at
   * first 0, at last all. Not called where nothing is copied: on the processor,
   * and where another session had it done. By session_create, on the thread
   * that calls it; it must not create a session itself (since 1.3). */
  void (*progress)(void *user, uint64_t done, uint64_t total);
  void *progress_user;
} moe_session_options;

/* How often each expert of a layer was chosen since the session began. */
typedef struct moe_expert_counts {
  const char *layer;
  int64_t experts;
  const uint64_t *counts; /* [experts] */
} moe_expert_counts;

/* Something measured of a layer since the session began: a tensor of the
 * expert profile ("counts", "score_sum"; runtime/Bank/README.md lists them). A
 * model that is not compiled with --instrument has counts and tokens alone. */
typedef struct moe_layer_measure {
  const char *layer;
  const char *name;
  moe_tensor value;
} moe_layer_measure;

/* One finished phase of a run; times since the session began. */
typedef struct moe_phase {
  const char *name;
  int64_t begin_ns;
  int64_t end_ns;
  int32_t depth; /* 0 for outermost */
  int32_t run;   /* number of the run, from 0; of what is between, the next */
} moe_phase;

/* How sample() chooses tokens (since 1.4). Set `size` to sizeof(moe_sampling)
 * and zero the rest: then it takes the token with the largest logit. */
typedef struct moe_sampling {
  uint32_t size;
  uint32_t sequences; /* 0: one */
  /* 0: the largest logit, the lower token among equals. Otherwise tokens are as
   * likely as softmax(logits / temperature) says. */
  double temperature;
  uint64_t top_k; /* among so many of the largest logits; 0: all */
  /* Where the temperature is not 0, [sequences] random numbers from 0 to below
   * 1, which decide: equal numbers and logits give equal tokens. */
  const double *uniform;
} moe_sampling;

typedef struct moe_api {
  uint64_t size; /* bytes of this table */
  uint16_t major;
  uint16_t minor;
  uint32_t reserved;

  /* --- the model; callable from any thread --- */

  const char *(*name)(void);
  /* JSON: layers, experts, parameters, bytes, target. */
  const char *(*manifest)(void);
  uint32_t (*num_inputs)(void);
  uint32_t (*num_outputs)(void);
  /* NULL when out of range. */
  const moe_port *(*input)(uint32_t index);
  const moe_port *(*output)(uint32_t index);
  /* Bytes of packed weights the model needs. */
  uint64_t (*weights_size)(void);
  /* Points a model without embedded weights at them; before the first session.
   * The memory must be 64-byte aligned and outlive the model. */
  moe_status (*set_weights)(const void *data, uint64_t size);
  /* Text of the calling thread's last failed call; "" after none. Valid until
   * that thread's next call. */
  const char *(*error)(void);

  /* --- a session; one thread at a time --- */

  /* `options` may be NULL. Fails when the processor lacks what the model was
   * compiled for, or the weights are not there. */
  moe_status (*session_create)(const moe_session_options *options,
                               moe_session **session);
  void (*session_destroy)(moe_session *session);
  /* Describes one input; kept until replaced. Type and shape are checked here,
   * sizes shared between inputs by run(). */
  moe_status (*set_input)(moe_session *session, const char *name,
                          const moe_tensor *tensor);
  /* Makes an output the input of the next run, as for the caches of a language
   * model (present to past), without a copy. The input of the first run, and
   * of the first after reset(), is what set_input() gave. */
  moe_status (*feed_back)(moe_session *session, const char *output,
                          const char *input);
  moe_status (*run)(moe_session *session);
  moe_status (*get_output)(moe_session *session, const char *name,
                           moe_tensor *tensor);
  /* Forgets outputs and what was fed back; inputs and links stay. */
  void (*reset)(moe_session *session);
  int32_t (*threads)(moe_session *session);

  /* --- what a session recorded (see moe_session_options); the arrays live
   *     until the session's next call --- */

  const moe_expert_counts *(*expert_counts)(moe_session *session,
                                            uint64_t *count);
  const moe_phase *(*phases)(moe_session *session, uint64_t *count);
  /* Most bytes of scratch in use at once, over all runs. */
  uint64_t (*peak_memory)(moe_session *session);
  /* The measures of all layers, layer by layer (since 1.1). */
  const moe_layer_measure *(*measures)(moe_session *session, uint64_t *count);
  /* What the session runs on, and why; the session's (since 1.2). */
  const char *(*device)(moe_session *session);

  /* Chooses the token that follows each sequence: by the last row that the
   * latest run's `output` (floats [..., vocabulary], as many rows for each
   * sequence) has of it. Writes `sampling->sequences` tokens. On a device the
   * logits stay there and only tokens are copied. MOE_MODEL_FAILED where a
   * logit is NaN (since 1.4). */
  moe_status (*sample)(moe_session *session, const char *output,
                       const moe_sampling *sampling, int64_t *tokens);
} moe_api;

/* What a model library exports. NULL when it has no table of version `major`.
 */
const moe_api *moe_model_api(uint32_t major);

/* --- libmoe_runtime: for models that are found at run time --- */

/* Opens a model library (.so) or a bundle (.moe) and returns its table, or NULL
 * with the reason in `message` (cut to `size` bytes with the final zero; may be
 * NULL). The model stays loaded until the process ends. Any thread. Opening a
 * bundle twice makes two models that share their weights. Programs that link a
 * model library, or dlopen one, do not need this function. */
const moe_api *moe_load(const char *path, char *message, uint64_t size);

#ifdef __cplusplus
}
#endif

#endif /* MOE_RUNTIME_MOE_RUNTIME_H */
