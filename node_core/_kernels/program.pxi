# Programs: the words that node_core/program wrote, and one execution of them.

cdef size_t TAPE_BYTES = 256 << 20
cdef size_t POOL_BYTES = 512 << 20  # of all memory that Programs keep for their next solve
cdef size_t POOLED = 0
cdef list _POOLS = []  # weak references to the Programs that keep some, the latest last


def tape_bytes(limit=None) -> int:
    """How much the forward pass of a discrete gradient keeps for the way back, which computes the stages beyond
    that again. A limit that is given replaces it; the one before is returned. For tests and measurements.
    """
    global TAPE_BYTES
    before = TAPE_BYTES
    if limit is not None:
        TAPE_BYTES = limit
    return before


def program_codes() -> dict:
    """The numbers of csrc/nc_program.h that node_core/program writes into its words."""
    return {
        "loop": nc.NC_CODE_LOOP, "matmul": nc.NC_CODE_MATMUL, "pack": nc.NC_CODE_PACK, "reduce": nc.NC_CODE_REDUCE,
        "copy": nc.NC_CODE_COPY, "gather": nc.NC_CODE_GATHER, "scatter": nc.NC_CODE_SCATTER,
        "cumsum": nc.NC_CODE_CUMSUM, "scalars": nc.NC_CODE_SCALARS, "copy_axes": nc.NC_COPY_AXES,
        "conv": nc.NC_CODE_CONV, "convweight": nc.NC_CODE_CONV_WEIGHT, "winograd": nc.NC_CODE_WINOGRAD,
        "winogradweight": nc.NC_CODE_WINOGRAD_WEIGHT, "winogradkernel": nc.NC_CODE_WINOGRAD_KERNEL,
        "conv_columns": nc.NC_CONV_COLUMNS,
        "conv_rows": nc.NC_CONV_ROWS, "loop_registers": nc.NC_LOOP_REGISTERS, "base_free": nc.NC_BASE_FREE,
    }


def scalar_codes() -> dict:
    """name -> enum nc_scalar_code; NC_SCALAR_BINARY, to which binary codes are added, is "binary"."""
    return {
        "binary": nc.NC_SCALAR_BINARY, "where": nc.NC_SCALAR_WHERE, "add": nc.NC_SCALAR_ADD,
        "subtract": nc.NC_SCALAR_SUBTRACT, "multiply": nc.NC_SCALAR_MULTIPLY, "divide": nc.NC_SCALAR_DIVIDE,
        "multiply_add": nc.NC_SCALAR_MULTIPLY_ADD, "multiply_subtract": nc.NC_SCALAR_MULTIPLY_SUBTRACT,
        "subtract_product": nc.NC_SCALAR_SUBTRACT_PRODUCT, "last_add": nc.NC_SCALAR_LAST_ADD,
        "last_subtract": nc.NC_SCALAR_LAST_SUBTRACT, "last_multiply": nc.NC_SCALAR_LAST_MULTIPLY,
        "last_multiply_add": nc.NC_SCALAR_LAST_MULTIPLY_ADD,
        "last_multiply_subtract": nc.NC_SCALAR_LAST_MULTIPLY_SUBTRACT,
        "last_subtract_product": nc.NC_SCALAR_LAST_SUBTRACT_PRODUCT, "subtract_last": nc.NC_SCALAR_SUBTRACT_LAST,
        "multiply_add_last": nc.NC_SCALAR_MULTIPLY_ADD_LAST,
        "multiply_subtract_last": nc.NC_SCALAR_MULTIPLY_SUBTRACT_LAST,
        "subtract_product_last": nc.NC_SCALAR_SUBTRACT_PRODUCT_LAST,
    }


def unary_codes() -> dict:
    """name -> enum nc_unary."""
    return dict(_UNARY)


def binary_codes() -> dict:
    """name -> enum nc_binary."""
    return dict(_BINARY)


cdef class Program:
    """An nc_program: four segments of int64 words, sizes in reals, and the constants (a real array).

    Only node_core/program makes these; the words are trusted.
    """
    cdef nc.nc_program c
    cdef list code
    cdef readonly cnp.ndarray constants
    cdef nc.nc_tape pool  # the blocks of a solve that is over, for the next one: their pages need not be cleared again
    cdef nc.nc_record record_pool  # and its record
    cdef object __weakref__

    def __dealloc__(self):
        self.free_pools()

    cdef size_t pooled(self):
        """Bytes of both."""
        cdef nc.nc_record *record = &self.record_pool
        return self.pool.count * self.pool.block_bytes + record.capacity * (record.state_bytes + record.slopes_bytes)

    cdef void free_pools(self):
        global POOLED
        POOLED -= self.pooled()
        nc.nc_tape_free(&self.pool)
        nc.nc_record_free(&self.record_pool)

    def __cinit__(self, list code, int bases, once, saved, carry, scratch, head, parameters, cnp.ndarray constants):
        self.code, self.constants = code, constants
        cdef cnp.ndarray words
        for i in range(4):
            words = code[i]
            if words.dtype != np.int64 or not words.flags.c_contiguous:
                raise TypeError("a segment must be a contiguous int64 array")
            self.c.code[i] = <const int64_t *>cnp.PyArray_DATA(words)
            self.c.words[i] = len(words)
        self.c.bases, self.c.once, self.c.saved, self.c.carry, self.c.scratch = bases, once, saved, carry, scratch
        self.c.saved_head, self.c.parameters = head, parameters

    @property
    def parameters(self) -> int:
        """Reals in the accumulators."""
        return self.c.parameters


@cython.no_gc_clear  # a _Problem that goes later wants the Program
cdef class Run:
    """One execution of a Program on these arguments, contiguous arrays of its dtype; results likewise."""
    cdef nc.nc_run c
    cdef readonly Program program
    cdef list arrays
    cdef const nc.nc_kernels *kernels
    cdef bint busy

    def __cinit__(self, Program program, list arguments, list results=None):
        cdef cnp.ndarray array = program.constants
        cdef int i, count, status, code = cnp.PyArray_TYPE(array)
        cdef void **places
        self.program = program
        self.kernels = _kernels(program.constants)
        self.arrays = [program.constants, *arguments, *(results or [])]
        count = len(self.arrays)
        if count != program.c.bases - nc.NC_BASE_FREE:
            raise ValueError(f"a run takes {program.c.bases - nc.NC_BASE_FREE} arrays, got {count}")
        places = <void **>PyMem_Malloc(count * sizeof(void *))
        if places == NULL:
            raise MemoryError("no memory for the run of a Program")
        try:
            for i in range(count):
                array = self.arrays[i]
                if cnp.PyArray_TYPE(array) != code or not cnp.PyArray_ISCARRAY_RO(array):
                    raise TypeError(f"argument {i} must be a contiguous {program.constants.dtype} array")
                places[i] = cnp.PyArray_DATA(array)
            status = nc.nc_run_create(&self.c, &program.c, cnp.PyArray_ITEMSIZE(array), places, self.kernels.execute)
        finally:
            PyMem_Free(places)
        if status:
            raise MemoryError("no memory for the run of a Program")

    def __dealloc__(self):
        nc.nc_run_free(&self.c)

    def forward(self):
        """Run the forward segment of a plain function: its results are filled."""
        with nogil:
            nc.nc_run_segment(&self.c, nc.NC_FORWARD, 1.0)

    def evaluate(self, double t, y):
        """f(t, y), (n,), by the forward segment."""
        cdef cnp.ndarray state = _plain(y, 1, "y"), dy = np.empty_like(y)
        self.check_state(state)
        self.kernels.program_rhs(&self.c, -1, t, cnp.PyArray_DATA(state), cnp.PyArray_DATA(dy))
        return dy

    cdef Run claimed(self):
        """This run for one reverse pass; another one if a thread is at work with it."""
        cdef Run run = self
        if self.busy:
            run = Run(self.program, self.arrays[1:])
        run.busy = True
        return run

    cdef void release(self):
        self.end_tape()
        self.busy = False

    cdef int check_state(self, cnp.ndarray y) except -1:
        if y.dtype != self.program.constants.dtype:
            raise TypeError(f"the Program is of {self.program.constants.dtype}, the state of {y.dtype}")
        return 0

    cdef int start_tape(self, nc.nc_tape *tape, int64_t ring) except -1:
        """Keep the SAVED blocks of slots on a tape; ring > 0 keeps the last so many."""
        cdef size_t block = nc.nc_run_block_bytes(&self.c, ring > 0)
        cdef int64_t most = ring if ring > 0 else TAPE_BYTES // block
        global POOLED
        if ring <= 0 and self.program.pool.block_bytes == block and self.program.pool.count > 0:
            POOLED -= self.program.pool.count * block
            tape[0] = self.program.pool
            memset(&self.program.pool, 0, sizeof(nc.nc_tape))
            tape.used, tape.most = 0, most
        else:
            nc.nc_tape_init(tape, block, most)
        self.c.tape, self.c.ring = tape, ring
        return 0

    cdef void take_record(self, nc.nc_record *record):
        """A record just made gets the memory of the last solve's, if its steps are as large."""
        global POOLED
        cdef nc.nc_record *pool = &self.program.record_pool
        if pool.capacity and pool.state_bytes == record.state_bytes and pool.slopes_bytes == record.slopes_bytes:
            POOLED -= pool.capacity * (pool.state_bytes + pool.slopes_bytes)
            record[0] = pool[0]
            record.count = 0
            record.most = 0
            memset(pool, 0, sizeof(nc.nc_record))

    cdef give_back(self, nc.nc_tape *tape, nc.nc_record *record):
        """The memory of a solve that is over serves the next one of this Program."""
        global POOLED
        cdef Program program = self.program
        program.free_pools()
        if record.bare:
            nc.nc_record_free(record)
        program.pool, program.record_pool = tape[0], record[0]
        memset(tape, 0, sizeof(nc.nc_tape))
        memset(record, 0, sizeof(nc.nc_record))
        POOLED += program.pooled()
        if program.pooled():
            _keep_pools_small(program)

    cdef void end_tape(self):
        nc.nc_run_slot(&self.c, -1, 0)  # back to its own blocks
        self.c.tape, self.c.ring = NULL, 0


cdef _keep_pools_small(Program latest):
    """Free what the Programs keep whose turn is longest ago, as far as there is too much."""
    cdef Program program
    if not _POOLS or _POOLS[len(_POOLS) - 1]() is not latest:
        _POOLS[:] = [r for r in _POOLS if r() is not None and r() is not latest] + [weakref.ref(latest)]
    while POOLED > POOL_BYTES and _POOLS:
        program = _POOLS.pop(0)()
        if program is not None:
            program.free_pools()
