# The instruction set, chosen once at import and constant from then on.

cdef const nc.nc_isa *_choose_isa() except NULL:
    cdef const nc.nc_isa *isa
    cdef int index = 0
    wanted = os.environ.get("NODE_CORE_ISA", "")
    names = []
    while True:
        isa = nc.nc_isa_at(index)
        if isa == NULL:
            break
        name = isa.name.decode()
        if wanted == name and not nc.nc_isa_supported(isa):
            raise ImportError(f"NODE_CORE_ISA={wanted} is not supported by this machine; unset it")
        if nc.nc_isa_supported(isa) and wanted in ("", name):
            return isa
        names.append(name)
        index += 1
    raise ImportError(f"NODE_CORE_ISA={wanted} is not known; this build has {', '.join(names[::-1])}")


cdef const nc.nc_isa *ISA = _choose_isa()


def build_info() -> dict:
    """{"compiler": its version, "isa": the instruction set in use, "isas": those compiled, widest last}."""
    names = []
    cdef int index = 0
    while nc.nc_isa_at(index) != NULL:
        names.append(nc.nc_isa_at(index).name.decode())
        index += 1
    return {"compiler": nc.nc_compiler_version().decode(), "isa": ISA.name.decode(), "isas": names[::-1]}
