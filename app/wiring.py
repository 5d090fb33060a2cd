"""What the services and the executor are told, out of the operator's settings."""

from app.instance import Instance, ray_address
from app.settings import DAY_SECONDS, MIB, Settings
from services.entities import ViewerLimits
from services.executor.cluster import ClusterSettings
from services.executor.messages import SessionLimits
from services.settings import ServiceSettings, SessionSettings, TimeSettings


def service_settings(settings: Settings, instance: Instance) -> ServiceSettings:
    """Say how sandboxes are made, how long they live, and how many a user has."""
    return ServiceSettings(
        sessions=_sessions(settings, instance),
        times=TimeSettings(
            max_execution_timeout_seconds=settings.max_execution_timeout_seconds,
            idle_timeout_seconds=settings.idle_timeout_seconds,
            max_idle_timeout_seconds=settings.max_idle_timeout_seconds,
            lifetime_seconds=settings.lifetime_seconds,
            max_lifetime_seconds=settings.max_lifetime_seconds,
            retention_seconds=settings.retention_days * DAY_SECONDS,
        ),
        quotas=ViewerLimits(
            max_sandboxes=settings.max_sandboxes,
            max_running_sandboxes=settings.max_running_sandboxes,
            max_concurrent_executions=settings.max_concurrent_executions,
        ),
        public_url=settings.base_url,
        installs_per_minute=settings.installs_per_minute,
        keeper_lease_seconds=settings.keeper_lease_seconds,
    )


def cluster_settings(settings: Settings, instance: Instance) -> ClusterSettings:
    """Say where Ray is. Raises `SettingsError` where set-up has not run."""
    return ClusterSettings(
        address=ray_address(settings),
        instance=instance.name,
        node_data_dir=_node_data_dir(settings, instance),
        image=settings.sandbox_image,
        runtime=settings.sandbox_runtime,
    )


def _sessions(settings: Settings, instance: Instance) -> SessionSettings:
    return SessionSettings(
        instance=instance.name,
        node_data_dir=_node_data_dir(settings, instance),
        default_image=settings.sandbox_image,
        images=settings.images,
        limits=SessionLimits(
            memory_bytes=settings.sandbox_memory_mib * MIB,
            cpus=settings.sandbox_cpus,
            processes=settings.sandbox_processes,
            disk_bytes=settings.sandbox_disk_mib * MIB,
            packages_bytes=settings.sandbox_packages_mib * MIB,
            upload_bytes=settings.max_upload_mib * MIB,
        ),
        runtime=settings.sandbox_runtime,
        num_cpus=settings.sandbox_cpu_reservation,
        memory_reservation_bytes=settings.sandbox_memory_reservation_mib * MIB,
        package_index_url=settings.package_index_url,
        packages_enabled=settings.packages_enabled,
        start_timeout_seconds=settings.sandbox_start_timeout_seconds,
        stop_timeout_seconds=settings.sandbox_stop_timeout_seconds,
    )


def _node_data_dir(settings: Settings, instance: Instance) -> str:
    return settings.sandbox_node_data_dir or str(instance.data_dir)
